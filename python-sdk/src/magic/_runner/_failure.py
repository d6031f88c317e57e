"""What went wrong, in the author's terms, bounded, and never itself a failure.

The exception is the author's object: its ``__str__`` may raise, its chain may
be a cycle, its message a gigabyte. Everything here is wrapped accordingly, and
when even formatting fails the type's name is still reported.

Tracebacks keep the frames of files in the controller's folder and in the extra
folders of dependencies, and of code the author made with exec. Frames of the
runner, of importlib and of the standard library tell the author nothing that
the message does not.
"""

from __future__ import annotations

from magic._errors import BackendError, CapabilityDenied, ControllerError, DeadlineExceeded, MagicError
from magic._log import bounded, json_safe, safe_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from traceback import TracebackException

__all__ = ["MESSAGE_LIMIT", "Author", "answer_of_group", "describe"]

#: Characters kept of an exception's message.
MESSAGE_LIMIT = 4 * 1024
#: Bytes kept of a traceback.
TRACEBACK_LIMIT = 16 * 1024
#: Innermost frames looked at per exception.
_FRAMES = 100
#: Exceptions of one chain or group that are shown.
_EXCEPTIONS = 32
#: What a capability call raises when the supervisor answers it with an error.
_ANSWERS = (CapabilityDenied, BackendError, DeadlineExceeded)
#: Characters kept of an author's code.
_CODE_LIMIT = 128


class Author:
    """Which files are the author's, and how they are called in a traceback."""

    def __init__(self, folder: str, others: list[str]) -> None:
        self.folder = folder.rstrip("/") + "/"
        self.others = tuple(path.rstrip("/") + "/" for path in others)

    def shown(self, filename: str) -> str | None:
        """The name to show for a file, or None when its frames are dropped."""
        if filename.startswith(self.folder):
            return filename[len(self.folder) :]
        if filename.startswith("<frozen "):
            return None
        # Angle brackets: code without a file, such as the author made with exec.
        return filename if filename.startswith(("<", *self.others)) else None

    def traceback(self, error: BaseException) -> str:
        """The formatted traceback; empty when it cannot be made."""
        try:
            from traceback import TracebackException

            report = TracebackException(type(error), error, error.__traceback__, limit=-_FRAMES, compact=True)
            self._trim(report, [_EXCEPTIONS])
            return _bounded_middle("".join(report.format()))
        except BaseException:
            return ""

    def _trim(self, report: TracebackException, left: list[int]) -> None:
        kept = []
        for frame in report.stack:
            name = self.shown(frame.filename)
            if name is not None:
                # The line is read before the name changes, since the name is
                # where it is read from.
                _ = frame.line
                frame.filename = name
                kept.append(frame)
        report.stack[:] = kept
        filename = getattr(report, "filename", None)
        if filename is not None:
            report.filename = self.shown(filename) or filename
        left[0] -= 1
        for name in ("__cause__", "__context__"):
            chained = getattr(report, name)
            if chained is None:
                continue
            if left[0] <= 0:
                setattr(report, name, None)
            else:
                self._trim(chained, left)
        for member in getattr(report, "exceptions", None) or ():
            self._trim(member, left)


def describe(error: BaseException, author: Author) -> dict[str, object]:
    """The ``error`` member of the last frame for an exception that left the controller."""
    if isinstance(error, SystemExit):
        return {"kind": "exited", "status": _exit_status(error)}
    culprit: BaseException = answer_of_group(error) or error
    kind = "raised"
    code: str | None = None
    details: object = None
    retriable = False
    try:
        if isinstance(culprit, CapabilityDenied):
            kind = "denied"
        elif isinstance(culprit, MemoryError):
            kind = "memory"
        # The supervisor recognizes the failure of a call that it answered itself
        # by the code; whatever claims one that it did not give is just raised.
        if isinstance(culprit, (*_ANSWERS, ControllerError)) and culprit.code is not None:
            code = safe_text(culprit.code, _CODE_LIMIT)
        if isinstance(culprit, MagicError):
            details = json_safe(culprit.details) if isinstance(culprit.details, dict) else None
            retriable = culprit.retriable is True
    except BaseException:
        # A subclass may have made these attributes into properties that raise.
        pass
    return {
        "kind": kind,
        "exception": bounded(type(error).__name__, 256),
        "message": safe_text(culprit, MESSAGE_LIMIT),
        "traceback": author.traceback(error),
        "code": code,
        "details": details,
        "retriable": retriable,
    }


def answer_of_group(error: BaseException) -> MagicError | None:
    """A TaskGroup wraps what its tasks raise: a group of nothing but denials is a denial, and so on."""
    if not isinstance(error, BaseExceptionGroup):
        return None
    waiting: list[BaseException] = [error]
    first: MagicError | None = None
    for _ in range(1000):
        if not waiting:
            return first
        member = waiting.pop()
        if isinstance(member, BaseExceptionGroup):
            waiting.extend(reversed(member.exceptions))
        elif isinstance(member, _ANSWERS) and (first is None or type(member) is type(first)):
            first = first or member
        else:
            return None
    return None


def _exit_status(error: SystemExit) -> int:
    # sys.exit() is status 0, a number is itself, and anything else is printed
    # by a plain interpreter, which then exits with 1.
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code) & 0xFF
    return 1


def _bounded_middle(text: str) -> str:
    """Keeps the beginning and the end: where it started, and what was raised."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= TRACEBACK_LIMIT:
        return raw.decode()
    half = TRACEBACK_LIMIT // 2 - 64
    head = raw[:half].decode("utf-8", "ignore")
    tail = raw[-half:].decode("utf-8", "ignore")
    return f"{head}\n  [... {len(raw) - 2 * half} bytes left out ...]\n{tail}"
