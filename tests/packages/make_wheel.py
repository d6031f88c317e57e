"""Writes wheels, good and hostile, from a JSON list on standard input."""

import json
import sys
import zipfile


def write(path, project, version, metadata, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        info = f"{project.replace('-', '_')}-{version}.dist-info"
        lines = ["Metadata-Version: 2.1", *metadata]
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        for entry in entries:
            member = zipfile.ZipInfo(entry["name"])
            member.compress_type = zipfile.ZIP_DEFLATED
            if "mode" in entry:
                member.external_attr = entry["mode"] << 16
            zeros = entry.get("zeros", 0)
            with wheel.open(member, "w") as file:
                file.write(entry.get("text", "").encode())
                for _ in range(zeros // (1 << 20)):
                    file.write(bytes(1 << 20))


for wheel in json.load(sys.stdin):
    if wheel.get("raw") is not None:
        with open(wheel["path"], "wb") as file:
            file.write(wheel["raw"].encode())
    else:
        write(wheel["path"], wheel["project"], wheel["version"], wheel["metadata"], wheel["entries"])
