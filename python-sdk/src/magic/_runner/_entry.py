"""Imports the author's module from its file and finds its one entry point.

Every way in which this can fail has a kind of its own and, where the cause is
clear, a hint that says what to type. The module is loaded by its path and not
by name, so nothing on ``sys.path`` can take its place.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import spec_from_file_location

from magic._contract import MARK
from magic._controller import Controller, FunctionContext
from magic._log import safe_text
from magic._runner._asyncio import import_asyncio, watch_import
from magic._runner._failure import MESSAGE_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType
    from typing import Any

    from magic._runner._failure import Author
    from magic._session import Session

__all__ = ["Entry", "LoadFailure", "entry_of", "find", "load"]

# Flags of a code object (the inspect module has names for them, and costs a megabyte).
_VARARGS = 0x04
_GENERATOR = 0x20
_COROUTINE = 0x80
_ASYNC_GENERATOR = 0x200

_CLIENTS = (b".db", b".http", b".secrets", b".cache", b".queue", b".fs", b".metrics")


class LoadFailure(Exception):
    """The controller does not load; carries the ``failed`` message."""

    def __init__(
        self, kind: str, message: str, *, exception: str | None = None, traceback: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.report: dict[str, object] = {
            "type": "failed",
            "kind": kind,
            "exception": exception,
            "message": message,
            "traceback": traceback,
            "hint": hint,
        }


class Entry:
    """A found entry point."""

    __slots__ = ("is_async", "name", "takes_context", "target")

    def __init__(self, target: Callable[..., Any], name: str, is_async: bool, takes_context: bool) -> None:
        self.target = target
        self.name = name
        self.is_async = is_async
        self.takes_context = takes_context

    @property
    def kind(self) -> str:
        """``class`` or ``function``, as the protocol names them."""
        return "class" if isinstance(self.target, type) else "function"

    def call(self, value: object, session: Session) -> Any:
        """Calls the author's code; what comes back may be a coroutine."""
        target = self.target
        if not isinstance(target, type):
            return target(value, FunctionContext(session)) if self.takes_context else target(value)
        controller: Any = target.__new__(target)  # type: ignore[call-overload]
        controller._magic_session = session
        controller.__init__()
        return controller.execute(value)


def load(path: str, contract_name: str, author: Author) -> Entry:
    """The entry point of the module at ``path``; raises LoadFailure."""
    return find(_import(path, author), contract_name)


def _import(path: str, author: Author) -> ModuleType:
    name = os.path.basename(path).removesuffix(".py")
    if name in sys.modules:
        raise LoadFailure(
            "import",
            f"the file {name}.py has the name of a module that Python itself has already loaded",
            hint="rename the file to controller.py",
        )
    try:
        watch_import()
        _prepare_asyncio(path)
        spec = spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise LoadFailure("import", f"{path} is not a Python source file", hint="name the file controller.py")
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        _prepare_clients(path)
    except LoadFailure:
        raise
    except SystemExit as error:
        raise _failed(
            "exited", error, author, "the module ended the interpreter while it was imported: remove the call of exit"
        ) from None
    except SyntaxError as error:
        raise _failed("syntax", error, author, None) from None
    except BaseException as error:
        # Python up to 3.11.3 has no SyntaxError for this one.
        if type(error) is ValueError and "null bytes" in safe_text(error, 100):
            raise _failed("syntax", error, author, "the file holds null bytes: save it as UTF-8 text") from None
        raise _failed("import", error, author, _import_hint(error)) from None
    return module


def _prepare_asyncio(path: str) -> None:
    """Imports asyncio if the module names it, so that no request has to."""
    with open(path, "rb") as file:
        if b"asyncio" in file.read():
            import_asyncio()


def _prepare_clients(path: str) -> None:
    """Imports the capability clients that the controller seems to use, so that no request has to."""
    with open(path, "rb") as file:
        source = file.read()
    # A controller without calls keeps even this module out of its forks.
    if b"await" in source and any(name in source for name in _CLIENTS):
        from magic._clients import prepare

        prepare(source)


def _failed(kind: str, error: BaseException, author: Author, hint: str | None) -> LoadFailure:
    return LoadFailure(
        kind,
        safe_text(error, MESSAGE_LIMIT),
        exception=type(error).__name__[:256],
        traceback=author.traceback(error),
        hint=hint,
    )


def _import_hint(error: BaseException) -> str | None:
    if isinstance(error, ImportError) and "no known parent package" in safe_text(error, 200):
        return "the controller's folder is on sys.path and is not a package: write `import name`, not `from . import name`"
    if isinstance(error, ModuleNotFoundError) and isinstance(error.name, str):
        top = error.name.partition(".")[0][:100]
        return (
            f"nothing named {top} is in the controller's folder, its dependencies or the standard library: "
            f"put {top}.py beside the controller, or correct the name"
        )
    if isinstance(error, PermissionError):
        return "the sandbox has no files to write and none of the host's to read: leave this out"
    if isinstance(error, MemoryError):
        return "importing needs more memory than the contract allows: raise resources.memory, or import less"
    return None


def find(module: ModuleType, contract_name: str | None) -> Entry:
    """The module's one decorated class or function; without a contract's name any class name will do."""
    members = {id(value): value for value in list(vars(module).values())}.values()
    marked = [value for value in members if _is_marked(value)]
    # What a helper module brings in counts only when the module itself has none.
    own = [value for value in marked if getattr(value, "__module__", None) == module.__name__]
    candidates = own or marked
    if not candidates:
        raise _nothing_found(module, contract_name, list(members))
    if len(candidates) > 1:
        names = ", ".join(sorted(_name(value) for value in candidates))
        raise LoadFailure(
            "ambiguous_entry_point",
            f"{len(candidates)} entry points are marked with @contract: {names}",
            hint="keep @contract on one of them; every controller has a folder of its own",
        )
    return entry_of(candidates[0], contract_name)


def entry_of(target: Callable[..., Any], contract_name: str | None) -> Entry:
    """Checks the form of one class or function."""
    if isinstance(target, type):
        return _check_class(target, contract_name)
    return _check_function(target)


def _is_marked(value: object) -> bool:
    # Looking into vars() rather than with getattr: a subclass does not inherit
    # the mark, and objects with a __getattr__ that answers everything have none.
    try:
        return isinstance(vars(value).get(MARK), str) and callable(value)
    except BaseException:
        return False


def _name(value: object) -> str:
    return safe_text(getattr(value, "__name__", type(value).__name__), 200)


def _nothing_found(module: ModuleType, contract_name: str | None, members: list[object]) -> LoadFailure:
    derived = [
        value
        for value in members
        if isinstance(value, type) and issubclass(value, Controller) and value.__module__ == module.__name__
    ]
    if derived:
        hint = f'write @contract("./contract.yaml") on the line above class {_name(derived[0])}'
    else:
        hint = (
            f'write a class: @contract("./contract.yaml") class {contract_name}(Controller): '
            "async def execute(self, input): ..."
        )
    return LoadFailure("no_entry_point", "the module has no class or function marked with @contract", hint=hint)


def _check_class(target: type, contract_name: str | None) -> Entry:
    name = _name(target)
    if not issubclass(target, Controller):
        raise LoadFailure(
            "bad_entry_point",
            f"class {name} is marked with @contract but does not derive from Controller",
            hint=f"write class {name}(Controller)",
        )
    if contract_name is not None and name not in (contract_name, f"{contract_name}Controller"):
        raise LoadFailure(
            "bad_entry_point",
            f"class {name} does not carry the contract's name {contract_name}",
            hint=f"name the class {contract_name} or {contract_name}Controller, or set name: {name} in the contract",
        )
    execute = getattr(target, "execute", None)
    if not callable(execute):
        raise LoadFailure(
            "bad_entry_point",
            f"class {name} has no method execute",
            hint="write async def execute(self, input): ...",
        )
    code = _code(execute)
    if code is not None:
        _check_code(code, f"{name}.execute", taken=2, form="async def execute(self, input)")
    return Entry(target, name, code is not None and bool(code.co_flags & _COROUTINE), False)


def _check_function(target: Callable[..., Any]) -> Entry:
    name = _name(target)
    code = _code(target)
    if code is None:
        raise LoadFailure(
            "bad_entry_point",
            f"{name} is marked with @contract but is neither a class nor a function",
            hint="write async def name(input, ctx): ... below @contract(...)",
        )
    takes_context = code.co_argcount >= 2 or bool(code.co_flags & _VARARGS)
    _check_code(code, name, taken=2 if takes_context else 1, form=f"async def {name}(input, ctx)")
    return Entry(target, name, bool(code.co_flags & _COROUTINE), takes_context)


def _code(function: object) -> CodeType | None:
    """The code behind a function, also one wrapped by functools.wraps."""
    for _ in range(32):
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is None:
            break
        function = wrapped
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    return code if hasattr(code, "co_flags") else None


def _check_code(code: CodeType, name: str, *, taken: int, form: str) -> None:
    if code.co_flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise LoadFailure(
            "bad_entry_point", f"{name} is a generator, since it contains yield", hint="return one value, yield none"
        )
    if code.co_argcount < taken and not code.co_flags & _VARARGS:
        raise LoadFailure("bad_entry_point", f"{name} takes too few arguments", hint=f"write {form}")
