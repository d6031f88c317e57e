"""Reads Python source as text and says what it would use. Never imports or runs it.

Input: one JSON object on standard input, {"files": {name: source}}. Output: one JSON object on standard output, by file:
either {"syntax": {...}} or {"entries": [...], "uses": [...]}. The source is hostile: it is parsed under limits of memory and
processor time, in a process of its own, whose crash is one more answer.
"""

import ast
import json
import resource
import sys

resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))

CLIENTS = ("db", "http", "secrets", "cache", "queue", "fs", "metrics")


def place(node, characters):
    """Line, column and width, counted as people do: from 1, in characters."""
    line = characters[node.lineno - 1] if node.lineno <= len(characters) else ""
    # ast counts UTF-8 bytes.
    column = len(line.encode()[: node.col_offset].decode("utf-8", "ignore"))
    end = column + 1
    if getattr(node, "end_lineno", None) == node.lineno:
        end = len(line.encode()[: node.end_col_offset].decode("utf-8", "ignore"))
    return {"line": node.lineno, "column": column + 1, "width": max(1, end - column)}


def decorated(node):
    """The decorator that is magic's contract, if one is."""
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
        if name == "contract":
            return decorator
    return None


def argument(decorator):
    """The decorator's path, if it is a plain string."""
    if isinstance(decorator, ast.Call) and len(decorator.args) == 1 and not decorator.keywords:
        value = decorator.args[0]
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


def bases(node):
    return [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", None) for base in node.bases]


def entries(tree, lines):
    """What could be the entry point: marked classes and functions, and classes that only derive from Controller."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            decorator = decorated(node)
            derives = "Controller" in bases(node)
            if decorator is None and not derives:
                continue
            methods = [
                member.name for member in node.body if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef))
            ]
            # A method may also come from a base class that is not Controller itself.
            inherits = any(base != "Controller" for base in bases(node))
            found.append(
                {
                    "kind": "class",
                    "name": node.name,
                    "marked": decorator is not None,
                    "derives": derives or inherits,
                    "has_execute": "execute" in methods or inherits,
                    "contract": argument(decorator) if decorator is not None else None,
                    "place": place(node, lines),
                }
            )
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            decorator = decorated(node)
            if decorator is not None:
                found.append(
                    {
                        "kind": "function",
                        "name": node.name,
                        "marked": True,
                        "derives": True,
                        "has_execute": True,
                        "contract": argument(decorator),
                        "place": place(node, lines),
                    }
                )
    return found


class Uses(ast.NodeVisitor):
    """Collects what is reached through `self` and through the context of a function controller."""

    def __init__(self, lines):
        self.lines = lines
        self.holders = []
        self.found = []

    def visit_ClassDef(self, node):
        self.in_class(node)

    def in_class(self, node):
        for member in node.body:
            if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)):
                arguments = member.args.posonlyargs + member.args.args
                self.within(member, arguments[:1])
            else:
                self.visit(member)
        for decorator in node.decorator_list:
            self.visit(decorator)

    def visit_FunctionDef(self, node):
        # Any argument may be the context or a controller that was handed on.
        self.within(node, node.args.posonlyargs + node.args.args)

    visit_AsyncFunctionDef = visit_FunctionDef

    def within(self, node, holders):
        self.holders.append({holder.arg for holder in holders})
        for member in node.body:
            self.visit(member)
        self.holders.pop()

    def visit_Attribute(self, node):
        client = self.client(node.value)
        if client is not None:
            self.found.append({"client": client, "method": node.attr, "place": place(node, self.lines)})
            return
        client = self.client(node)
        if client is not None:
            # The client itself is handed on: which of its methods is used cannot be read here.
            self.found.append({"client": client, "method": None, "place": place(node, self.lines)})
            return
        self.generic_visit(node)

    def client(self, node):
        """The client's name if the node is `self.db` and the like."""
        if not isinstance(node, ast.Attribute) or node.attr not in CLIENTS:
            return None
        if isinstance(node.value, ast.Name) and any(node.value.id in names for names in self.holders):
            return node.attr
        return None


def read(source):
    lines = source.splitlines()
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return {
            "syntax": {
                "message": error.msg,
                "place": {"line": error.lineno or 1, "column": error.offset or 1, "width": 1},
            }
        }
    except (ValueError, RecursionError, MemoryError) as error:
        return {"syntax": {"message": f"{type(error).__name__}: {error}", "place": {"line": 1, "column": 1, "width": 1}}}
    uses = Uses(lines)
    try:
        uses.visit(tree)
    except RecursionError:
        return {
            "syntax": {
                "message": "the program is nested too deeply to be read",
                "place": {"line": 1, "column": 1, "width": 1},
            }
        }
    return {"entries": entries(tree, lines), "uses": uses.found}


files = json.load(sys.stdin)["files"]
json.dump({name: read(source) for name, source in files.items()}, sys.stdout)
