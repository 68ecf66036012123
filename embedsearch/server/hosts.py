"""Under which names a server answers.

A page on the web can have its own name lead to 127.0.0.1 (DNS rebinding), and then read what a server there answers as
if it were its own. The browser still sends the page's name in Host, and so the name decides. An address made of numbers
can be no such name, and what ends in "localhost" never leaves the machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]+))(?::\d*)?")


def is_loopback(host: str) -> bool:
    """Whether a server that listens on this host can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return _is_localhost(host.lower())


def is_ours(header: str, allowed: Collection[str]) -> bool:
    """Whether a Host header names an address, localhost, or one of `allowed` (in small letters), whatever its port."""
    found = _HOST.fullmatch(header.strip())
    if found is None:
        return False
    try:
        ipaddress.ip_address(found["six"] or found["name"])
    except ValueError:
        name = (found["name"] or "").lower().rstrip(".")
        return _is_localhost(name) or name in allowed
    return True


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")
