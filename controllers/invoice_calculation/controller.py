"""Adds up an invoice to the cent.

Money is text on the way in and out and Decimal in between: a float cannot hold
ten cents. Tax is worked out per rate on the rate's whole net amount and rounded
once, so the tax lines add up to the total; rounding per line would not.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any

from magic import Controller, ControllerError, contract

HUNDRED = Decimal(100)
#: Digits after the point of currencies that do not have two.
MINOR_DIGITS = {"JPY": 0, "KRW": 0, "CLP": 0, "BHD": 3, "KWD": 3, "TND": 3}
#: The largest amount answered, in major units.
LARGEST = Decimal(10) ** 15


@contract("./invoice_calculation.contract.yaml")
class InvoiceCalculation(Controller):
    """Line totals, discounts, taxes by rate, and the sum to pay."""

    def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        unit = Decimal(1).scaleb(-MINOR_DIGITS.get(input["currency"], 2))
        # Forty digits hold every product the contract's limits allow, exactly.
        with localcontext(Context(prec=40, rounding=ROUND_HALF_UP)):
            return self._calculate(input, unit)

    def _calculate(self, invoice: dict[str, Any], unit: Decimal) -> dict[str, Any]:
        lines = []
        net_by_rate: defaultdict[Decimal, Decimal] = defaultdict(Decimal)
        for number, line in enumerate(invoice["lines"], start=1):
            gross = Decimal(line["quantity"]) * Decimal(line["unit_price"])
            discount = (gross * Decimal(line.get("discount_percent", "0")) / HUNDRED).quantize(unit)
            net = gross.quantize(unit) - discount
            if abs(net) > LARGEST:
                raise ControllerError(
                    f"line {number} comes to more than {LARGEST:f}", code="AMOUNT_TOO_LARGE", details={"line": number}
                )
            net_by_rate[Decimal(line["tax_percent"])] += net
            lines.append({"description": line["description"], "discount": f"{discount:f}", "net": f"{net:f}"})

        taxes = [
            {
                "percent": f"{rate.normalize():f}",
                "net": f"{net:f}",
                "tax": f"{(net * rate / HUNDRED).quantize(unit):f}",
            }
            for rate, net in sorted(net_by_rate.items())
        ]
        net_total = sum(net_by_rate.values(), Decimal(0)).quantize(unit)
        tax_total = sum((Decimal(tax["tax"]) for tax in taxes), Decimal(0)).quantize(unit)
        self.log.info("invoice calculated", lines=len(lines), rates=len(taxes))
        return {
            "currency": invoice["currency"],
            "lines": lines,
            "taxes": taxes,
            "net_total": f"{net_total:f}",
            "tax_total": f"{tax_total:f}",
            "total": f"{net_total + tax_total:f}",
        }
