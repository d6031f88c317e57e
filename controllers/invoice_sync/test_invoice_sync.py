"""InvoiceSync against back ends in memory, under a contract with the same capabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from magic import BackendError, CapabilityDenied, ControllerError
from magic.testing import FakeBroker, Reply, run

CONTROLLER = Path(__file__).with_name("controller.py")
CUSTOMER = "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b"
INPUT = {"customer_id": CUSTOMER, "invoice_data": {"amount": 4200, "currency": "eur"}}

# Written out, so that the test needs no program to read YAML.
CONTRACT: dict[str, Any] = {
    "name": "InvoiceSync",
    "version": "1.0.0",
    "capabilities": [
        {"db:read": {"tables": ["customers"]}},
        {"http:egress": {"allow": ["api.stripe.com"], "methods": ["POST"]}},
        {"secrets:read": {"keys": ["STRIPE_KEY"]}},
    ],
}


def broker(answer: object) -> FakeBroker:
    return FakeBroker(
        tables={"customers": [{"id": CUSTOMER, "name": "Ada Lovelace", "stripe_id": "cus_1001"}]},
        http={"POST https://api.stripe.com/v1/invoices": answer},
        secrets={"STRIPE_KEY": "sk_test_1"},
    )


def test_the_invoice_reaches_stripe() -> None:
    stripe = broker({"id": "in_1001"})
    assert run(CONTROLLER, INPUT, contract=CONTRACT, broker=stripe) == {"sync_id": "in_1001", "status": "completed"}
    (request,) = stripe.requests
    assert request.headers["authorization"] == "Bearer sk_test_1"
    assert request.json() == {"amount": 4200, "currency": "eur", "customer": "cus_1001"}
    assert [method for method, _ in stripe.calls] == ["db.query_one", "secrets.get", "http.request"]


def test_an_unknown_customer_costs_no_request() -> None:
    stripe = broker({"id": "in_1001"})
    other = {**INPUT, "customer_id": "00000000-0000-4000-8000-000000000000"}
    with pytest.raises(ControllerError, match="no such customer"):
        run(CONTROLLER, other, contract=CONTRACT, broker=stripe)
    assert stripe.requests == []


@pytest.mark.parametrize(("status", "retriable"), [(402, False), (503, True)])
def test_what_stripe_refuses_is_told(status: int, retriable: bool) -> None:
    refused = Reply(status, json={"error": {"code": "card_declined"}})
    with pytest.raises(BackendError) as caught:
        run(CONTROLLER, INPUT, contract=CONTRACT, broker=broker(refused))
    assert (caught.value.retriable, (caught.value.details or {})["status"]) == (retriable, status)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_every_capability_is_needed(missing: int) -> None:
    kept = [item for index, item in enumerate(CONTRACT["capabilities"]) if index != missing]
    with pytest.raises(CapabilityDenied):
        run(CONTROLLER, INPUT, contract={**CONTRACT, "capabilities": kept}, broker=broker({"id": "in_1001"}))
