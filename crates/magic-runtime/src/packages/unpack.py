"""Reads one wheel and writes its files as a tar stream to standard output.

Runs in a sandbox of its own: the wheel is the only foreign thing in it, and the
stream is all that leaves. Whoever reads the stream trusts none of it, so
nothing here is a check that security needs; what is refused here is refused for
a better message. The first entry tells what the wheel says of itself.

Modules are compiled, which runs nothing of them, so that no interpreter that
imports them has to do it again.
"""

import ast
import importlib.util
import io
import json
import os
import re
import stat
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from importlib._bootstrap_external import _code_to_hash_pyc

PACKAGES = "/magic/packages"
NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?[^;]*(?:;(.*))?$", re.DOTALL)
VERSIONS = {"python_version", "python_full_version", "implementation_version", "platform_release"}


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def environment():
    system = os.uname()
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": ".".join(map(str, sys.version_info[:3])),
        "os_name": os.name,
        "platform_machine": system.machine,
        "platform_python_implementation": "CPython",
        "platform_release": system.release,
        "platform_system": system.sysname,
        "platform_version": system.version,
        "python_full_version": ".".join(map(str, sys.version_info[:3])),
        "python_version": ".".join(map(str, sys.version_info[:2])),
        "sys_platform": sys.platform,
        "extra": "",
    }


def numbers(text):
    return tuple(int(part) for part in re.findall(r"\d+", text))


def holds(marker, values):
    """Whether a marker holds. Markers are written in a part of Python's own grammar, of which nothing is executed."""

    def value(node):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name):
            return values[node.id]
        raise ValueError(ast.dump(node))

    def compare(left, operator, right):
        one, other = value(left), value(right)
        names = {side.id for side in (left, right) if isinstance(side, ast.Name)}
        if "extra" in names:
            one, other = normalized(one), normalized(other)
        if isinstance(operator, ast.In):
            return one in other
        if isinstance(operator, ast.NotIn):
            return one not in other
        if names & VERSIONS:
            one, other = numbers(one), numbers(other)
        return {
            ast.Eq: one == other,
            ast.NotEq: one != other,
            ast.Lt: one < other,
            ast.LtE: one <= other,
            ast.Gt: one > other,
            ast.GtE: one >= other,
        }[type(operator)]

    def judge(node):
        if isinstance(node, ast.BoolOp):
            return (all if isinstance(node.op, ast.And) else any)(judge(part) for part in node.values)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return compare(node.left, node.ops[0], node.comparators[0])
        raise ValueError(ast.dump(node))

    return judge(ast.parse(marker.strip(), mode="eval").body)


def is_required(marker, extras):
    try:
        return any(holds(marker, environment() | {"extra": extra}) for extra in ("", *extras))
    except (ValueError, KeyError, SyntaxError):
        # What cannot be judged shows itself when the controller is imported.
        return False


def metadata(wheel, extras):
    found = [name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
    if len(found) != 1:
        sys.exit(f"it has {len(found)} files METADATA where a wheel has one")
    headers = HeaderParser().parsestr(wheel.read(found[0]).decode("utf-8", "replace"))
    requires = set()
    for line in headers.get_all("Requires-Dist", []):
        match = NAME.match(line)
        if match and (match[2] is None or is_required(match[2], extras)):
            requires.add(normalized(match[1]))
    return {"name": normalized(headers["Name"] or ""), "version": headers["Version"] or "", "requires": sorted(requires)}


def place(name):
    """Where a file of the wheel belongs below the folder of packages; nowhere for scripts, headers and data."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    scheme, _, rest = rest.partition("/")
    return rest if scheme in ("purelib", "platlib") else None


def compiled(name, source):
    try:
        code = compile(source, f"{PACKAGES}/{name}", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return bytes(_code_to_hash_pyc(code, importlib.util.source_hash(source), False))


def entry(name, size):
    header = tarfile.TarInfo(name)
    header.size = size
    return header


def main():
    with open("/magic/request.json") as file:
        request = json.load(file)
    with zipfile.ZipFile("/magic/wheel.whl") as wheel, tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        told = json.dumps(metadata(wheel, request["extras"])).encode()
        tar.addfile(entry(request["metadata"], len(told)), io.BytesIO(told))
        for info in wheel.infolist():
            if info.is_dir():
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                sys.exit(f"{info.filename!r} is a link")
            name = place(info.filename)
            if name is None or "__pycache__" in name.split("/"):
                continue
            if not name.endswith(".py"):
                with wheel.open(info) as content:
                    tar.addfile(entry(name, info.file_size), content)
                continue
            source = wheel.read(info)
            tar.addfile(entry(name, len(source)), io.BytesIO(source))
            code = compiled(name, source)
            if code is not None:
                tar.addfile(entry(importlib.util.cache_from_source(name), len(code)), io.BytesIO(code))


try:
    main()
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
