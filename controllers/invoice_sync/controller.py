"""Sends an invoice of a known customer to Stripe: one read, one secret, one request."""

from __future__ import annotations

from typing import Any

from magic import Controller, ControllerError, contract

INVOICES = "https://api.stripe.com/v1/invoices"


@contract("./invoice_sync.contract.yaml")
class InvoiceSyncController(Controller):
    """What the contract's input says, in; the number that Stripe gave, out."""

    async def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        customer_id = input["customer_id"]
        customer = await self.db.query_one("customers", where={"id": customer_id})
        if customer is None:
            raise ControllerError("there is no such customer", code="CUSTOMER_UNKNOWN", details={"id": customer_id})

        stripe_key = await self.secrets.get("STRIPE_KEY")
        response = await self.http.post(
            INVOICES,
            json={**input["invoice_data"], "customer": customer["stripe_id"]},
            headers={"Authorization": f"Bearer {stripe_key}"},
        )
        # A status is an answer; whether it is good news is for the controller to say.
        response.raise_for_status()

        self.log.info("invoice sent", customer_id=customer_id, invoice=response["id"])
        return {"sync_id": response["id"], "status": "completed"}
