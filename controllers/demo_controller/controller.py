"""The smallest useful controller: it answers a message."""

from __future__ import annotations

from typing import Any

from magic import Controller, contract


@contract("./demo_controller.contract.yaml")
class DemoController(Controller):
    """Greets whoever wrote, and tells how long the message was."""

    async def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        message = input["message"].strip()
        self.log.info("message received", length=len(message))
        if not message:
            return {"reply": "You sent only blanks.", "length": 0}
        return {"reply": f"You said: {message}", "length": len(message)}
