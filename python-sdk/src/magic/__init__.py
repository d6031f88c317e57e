"""The SDK of Magic Runtime: what a controller imports.

    from magic import Controller, contract

    @contract("./invoice_sync.contract.yaml")
    class InvoiceSync(Controller):
        async def execute(self, input: dict) -> dict:
            return {"status": "completed"}

Everything here is convenience, nothing here is a lock: the supervisor on the
other side of the channel checks every message, so a controller that patches
this package only deceives itself.

The package is imported into every template and forked with every request, so
a module that a plain request does not need is never imported from here.
"""

from magic._context import Caller, RequestContext
from magic._contract import contract
from magic._controller import Controller, FunctionContext
from magic._errors import (
    BackendError,
    CapabilityDenied,
    ControllerError,
    DeadlineExceeded,
    MagicError,
    OutputError,
)

__all__ = [
    "BackendError",
    "Caller",
    "CapabilityDenied",
    "Controller",
    "ControllerError",
    "DeadlineExceeded",
    "FunctionContext",
    "MagicError",
    "OutputError",
    "RequestContext",
    "contract",
]
