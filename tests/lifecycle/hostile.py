"""Writes archives that try to leave their place into the folder named by the first argument, each under what it is."""

import io
import sys
import tarfile
from pathlib import Path

CONTRACT = b"name: Evil\nversion: 1.0.0\ninput: {type: object}\noutput: {type: object}\n"
CODE = b"""from magic import contract


@contract("./contract.yaml")
async def handle(input, ctx):
    return {}
"""


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.mode = mode
    return info


def write(out: Path, name: str, extra: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(out / f"{name}.tar.gz", "w:gz", compresslevel=1) as tar:
        for info, data in [(entry("contract.yaml"), CONTRACT), (entry("controller.py"), CODE), *extra]:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def main() -> None:
    out = Path(sys.argv[1])
    outside = sys.argv[2]
    write(out, "honest", [(entry("more/data.txt"), b"x")])
    write(out, "parent", [(entry("../escaped"), b"x")])
    write(out, "absolute", [(entry(f"{outside}/escaped"), b"x")])
    write(out, "symbolic-link", [(entry("link", tarfile.SYMTYPE, outside), b"")])
    write(out, "through-a-link", [(entry("d", tarfile.SYMTYPE, outside), b""), (entry("d/escaped"), b"x")])
    write(out, "hard-link", [(entry("link", tarfile.LNKTYPE, "controller.py"), b"")])
    write(out, "device", [(entry("null", tarfile.CHRTYPE), b"")])
    write(out, "fifo", [(entry("pipe", tarfile.FIFOTYPE), b"")])
    write(out, "set-uid", [(entry("shell", mode=0o4755), b"x")])
    write(out, "twice", [(entry("controller.py"), b"raise SystemExit")])
    write(out, "case", [(entry("Controller.py"), b"raise SystemExit")])
    write(out, "control-character", [(entry("a\nb"), b"x")])
    write(out, "many", [(entry(f"f{number}"), b"") for number in range(20_000)])
    write(out, "bomb", [(entry("zeros"), bytes(100 << 20))])
    whole = (out / "honest.tar.gz").read_bytes()
    (out / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    (out / "trailing.tar.gz").write_bytes(whole + b"more")
    (out / "zip.tar.gz").write_bytes(b"PK\x03\x04and more")
    (out / "nothing.tar.gz").write_bytes(b"")


main()
