"""One function per field: clean text, or FieldError with what was expected."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from decimal import Decimal, InvalidOperation

EMAIL = re.compile(r"[^@\s]{1,64}@([a-z0-9-]{1,63}\.)+[a-z]{2,63}")
GROUPED = re.compile(r"-?\d{1,3}([.,' ])\d{3}(\1\d{3})*([.,]\d+)?")
DATES = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%Y%m%d")
COUNTRIES = {
    "deutschland": "DE",
    "germany": "DE",
    "france": "FR",
    "frankreich": "FR",
    "united states": "US",
    "usa": "US",
    "united kingdom": "GB",
    "uk": "GB",
    "japan": "JP",
}


class FieldError(ValueError):
    """The text is not what the field holds; the message says what is."""


def normalize_name(text: str) -> str:
    """Composed characters, single blanks, no control characters."""
    cleaned = " ".join(unicodedata.normalize("NFC", text).split())
    if len(cleaned) > 200 or not cleaned.isprintable():
        raise FieldError("expected at most 200 printable characters")
    return cleaned


def normalize_email(text: str) -> str:
    """The address with its domain in lower case."""
    local, _, domain = text.rpartition("@")
    address = f"{local}@{domain.lower()}"
    if len(address) > 254 or EMAIL.fullmatch(address) is None:
        raise FieldError("expected an address like name@example.org")
    return address


def normalize_country(text: str) -> str:
    """Two capital letters of ISO 3166, from those or from a common name."""
    # Names first: UK is in use for GB.
    known = COUNTRIES.get(text.casefold())
    if known is not None:
        return known
    if len(text) == 2 and text.isascii() and text.isalpha():
        return text.upper()
    raise FieldError("expected two letters such as DE, or a known country's name")


def normalize_date(text: str) -> str:
    """A day as YYYY-MM-DD; the day comes before the month where slashes leave it open."""
    for form in DATES:
        try:
            return datetime.strptime(text, form).date().isoformat()
        except ValueError:
            continue
    raise FieldError("expected a day like 2024-02-29 or 29.02.2024")


def normalize_amount(text: str) -> str:
    """A decimal amount with two digits after the point, whatever the grouping was."""
    compact = text.replace("\u00a0", " ")
    grouped = GROUPED.fullmatch(compact)
    if grouped is not None and (grouped[2] is not None or grouped[3] is not None or compact.count(grouped[1]) == 1):
        separator = grouped[1]
        whole = compact[: grouped.start(3)] if grouped[3] else compact
        compact = whole.replace(separator, "") + (grouped[3] or "").replace(",", ".")
    else:
        compact = compact.replace(",", ".")
    try:
        amount = Decimal(compact)
        if not amount.is_finite() or abs(amount) >= 10**15:
            raise FieldError("expected an amount below 10^15")
        return f"{amount.quantize(Decimal('0.01')):f}"
    except InvalidOperation:
        raise FieldError("expected an amount like 1234.50 or 1.234,50") from None
