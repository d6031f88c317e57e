"""Hosts and URLs in their one spelling, judged as strictly as the runtime judges them.

Nothing is repaired: a capital letter, a dot at the end or an address in another
notation is refused, since what a lenient reader changes is what lets two
readers disagree. The rules are those of the runtime's contract reader.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata

__all__ = ["HostProblem", "Pattern", "Target", "parse_host"]

_DIGITS = frozenset("0123456789")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


class HostProblem(ValueError):
    """Which rule a host or a URL breaks."""


def parse_host(text: str) -> str:
    """The same text, if it is a host in canonical form; an IPv6 address stands in brackets."""
    if not text:
        raise HostProblem("a host cannot be empty")
    if text.startswith("["):
        return _address(text)
    if any(mark in text for mark in "/@?#\\:"):
        raise HostProblem("only a host and an optional port belong here, without scheme, path or user")
    if any("A" <= letter <= "Z" for letter in text):
        raise HostProblem("host names are written in lower case")
    if not _PLAIN.issuperset(text):
        raise HostProblem("a host name has lower-case ASCII letters, digits, hyphens and dots only")
    if len(text) > 1 and text.endswith("."):
        raise HostProblem("a host name is written without a dot at its end")
    if len(text) > 253:
        raise HostProblem("a host name has at most 253 characters, and each label at most 63")
    for label in text.split("."):
        _check_label(label)
    last = text.rpartition(".")[2]
    if _DIGITS.issuperset(last) or re.fullmatch("0x[0-9a-f]*", last):
        # Some resolvers read such names as addresses, so only four plain parts are taken.
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise HostProblem("an IP address is written in its canonical form, IPv6 in brackets") from None
    return text


def _address(text: str) -> str:
    try:
        # A zone is meant for one machine only.
        if not text.endswith("]") or "%" in text:
            raise ValueError(text)
        address = ipaddress.IPv6Address(text[1:-1])
        mapped = address.ipv4_mapped
        if text[1:-1] != (str(address) if mapped is None else f"::ffff:{mapped}"):
            raise ValueError(text)
    except ValueError:
        raise HostProblem("an IP address is written in its canonical form, IPv6 in brackets") from None
    return text


def _check_label(label: str) -> None:
    if not label:
        raise HostProblem("a host name cannot have an empty label")
    if len(label) > 63:
        raise HostProblem("a host name has at most 253 characters, and each label at most 63")
    if label.startswith("xn--"):
        if not _is_canonical_punycode(label[4:]):
            raise HostProblem("a label that starts with `xn--` must be valid punycode of a name that needs it")
    elif label[2:4] == "--" or label.startswith("-") or label.endswith("-"):
        raise HostProblem("a label of a host name cannot start or end with a hyphen, nor have two in third and fourth place")


def _is_canonical_punycode(encoded: str) -> bool:
    try:
        label = encoded.encode("ascii").decode("punycode")
        same = label.encode("punycode").decode("ascii") == encoded
    except (UnicodeError, ValueError, OverflowError):
        return False
    letters = all(
        one == "-" or (one.isalnum() and one == one.lower()) or unicodedata.category(one)[0] == "M" or one in "\u200c\u200d·"
        for one in label
    )
    return same and letters and not label.isascii()


def _split_port(text: str) -> tuple[str, int | None]:
    # The colons of an IPv6 address lie within its brackets.
    begin = text.rfind("]") + 1
    host, colon, digits = text[begin:].partition(":")
    if not colon:
        return text, None
    if not digits or not _DIGITS.issuperset(digits) or digits.startswith("0") or int(digits) > 65535:
        raise HostProblem("a port is a number from 1 to 65535")
    return text[:begin] + host, int(digits)


class Pattern:
    """One entry of a contract's list: ``host``, ``host:port``, ``*.host`` or ``*.host:port``."""

    def __init__(self, text: str) -> None:
        self.text = text
        if not text:
            raise HostProblem("a host cannot be empty")
        if any(mark in text for mark in "/@?#\\"):
            raise HostProblem("only a host and an optional port belong here, without scheme, path or user")
        host, port = _split_port(text)
        self.names_port = port is not None
        self.port = 443 if port is None else port
        self.is_wildcard = host.startswith("*.")
        rest = host[2:] if self.is_wildcard else host
        if "*" in rest:
            raise HostProblem("`*` may only stand for the whole leftmost label, with at least two labels after it")
        self.host = parse_host(rest)
        if self.is_wildcard and ("." not in rest or rest.startswith("[") or _DIGITS.issuperset(rest.rpartition(".")[2])):
            raise HostProblem("`*` may only stand for the whole leftmost label, with at least two labels after it")

    def covers(self, host: str, port: int) -> bool:
        """Whether this host and port are meant; a wildcard stands for exactly one label."""
        if self.port != port:
            return False
        return host.partition(".")[2] == self.host if self.is_wildcard else host == self.host


class Target:
    """A URL that has one reading."""

    def __init__(self, text: str) -> None:
        if len(text.encode("utf-8", "replace")) > 8 * 1024:
            raise HostProblem("a URL has at most 8192 bytes")
        if any(one.isspace() or unicodedata.category(one) == "Cc" or one == "\\" for one in text):
            raise HostProblem("a URL has no whitespace, control characters or backslashes; percent-encode them")
        scheme, mark, rest = text.partition("://")
        if not mark or scheme not in ("http", "https"):
            raise HostProblem("a URL begins with `https://` or `http://`")
        end = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
        authority = rest[:end]
        if "@" in authority:
            raise HostProblem("a URL names no user; send credentials in a header")
        if "%" in authority or not authority.isascii():
            raise HostProblem("the host of a URL is plain ASCII, international names as punycode")
        host, port = _split_port(authority)
        self.is_tls = scheme == "https"
        self.host = parse_host(host)
        self.port = (443 if self.is_tls else 80) if port is None else port
        path = rest[end:].partition("#")[0]
        self.url = f"{scheme}://{authority}{path if path.startswith('/') else '/' + path}"

    @property
    def is_address(self) -> bool:
        """Whether the host is an address and no name, which never ends in a number."""
        return self.host.startswith("[") or _DIGITS.issuperset(self.host.rpartition(".")[2])

    @property
    def place(self) -> str:
        """Host and port, as a contract writes them."""
        return self.host if self.port == 443 else f"{self.host}:{self.port}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What credentials stay within."""
        return self.is_tls, self.host, self.port
