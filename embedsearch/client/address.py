"""Where a server is, and how it is asked: what both clients are made with."""

from __future__ import annotations

import functools
import math
import os
import ssl
from typing import Any

import httpx

from embedsearch._version import __version__
from embedsearch.errors import OptionError

KEY_VARIABLE = "EMBEDSEARCH_API_KEY"


def http_options(url: str, *, key: str | None, timeout: float) -> dict[str, Any]:
    """What httpx's clients take. `key` None: that of EMBEDSEARCH_API_KEY, if there is one.

    Raises OptionError for an address, a key or a timeout that is none. No message holds the key.
    """
    if not 0 < timeout < math.inf:
        raise OptionError(f"expected a timeout of some seconds, more than 0, found {timeout!r}")
    headers = {"User-Agent": f"embedsearch/{__version__}", "Content-Type": "application/json"}
    given = os.environ.get(KEY_VARIABLE) if key is None else key
    if given:
        if not (given.isascii() and given.isprintable() and " " not in given):
            raise OptionError("expected a key of printable ASCII without blanks, found another: copy it again")
        headers["Authorization"] = f"Bearer {given}"
    return {
        "base_url": _checked(url),
        "headers": headers,
        "timeout": timeout,
        "verify": _certificates(),
        # Shorter than the 5 seconds after which uvicorn closes: no request goes into a connection that is going away.
        "limits": httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=3.0),
        "follow_redirects": False,
    }


def shown(url: str) -> str:
    """The address as messages name it: without a password."""
    return str(_checked(url).copy_with(userinfo=b""))


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise OptionError(f"expected an address like http://127.0.0.1:8000, found {url!r}: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise OptionError(f"expected an address like http://127.0.0.1:8000, found {url!r}")
    return parsed


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Those that httpx trusts, read once: that takes longer than a search."""
    return httpx.create_ssl_context()
