"""Requests to one OAI server: never too many, not given up too soon, and bounded in size and time."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from types import TracebackType
from typing import Final, Self

import httpx
import tenacity

from embedsearch._version import __version__
from embedsearch.errors import OptionError, ServerError
from embedsearch.fetch.protocol import Answer, Malformed, OaiError, read_answer

PAUSE: Final = 3.0
"""Seconds between requests: what arXiv asks for. Shorter ones are for servers on this machine."""
MAX_BYTES: Final = 64 << 20
"""Of one answer. A page of 3,500 records has some 10 MB."""
MAX_SECONDS: Final = 600.0
"""For one answer, and the longest time for which a server may ask to be left alone."""
ATTEMPTS: Final = 6
ATTEMPTS_AT_FIRST: Final = 2
"""Where nothing has answered yet, the address or the network is wrong rather than busy."""
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_MAX_REDIRECTS: Final = 3
_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})

logger = logging.getLogger(__name__)


class _Later(ServerError):
    """No answer now. `is_busy`: the server says so itself; `after`: for how many seconds it asks to be left alone."""

    def __init__(self, message: str, *, is_busy: bool = False, after: float | None = None) -> None:
        super().__init__(message)
        self.is_busy = is_busy
        self.after = after


class Server:
    """One OAI server, as a context. `on_wait` is told of seconds to wait, and why, when it is longer than the pause.

    Raises OptionError for an address that is none, or a pause that is too short for a server elsewhere.
    """

    def __init__(
        self,
        base_url: str,
        *,
        pause: float = PAUSE,
        contact: str | None = None,
        timeout: float = 120.0,
        on_wait: Callable[[float, str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = _address(base_url)
        if pause < PAUSE and self._url.host not in _HERE:
            raise OptionError(f"expected a pause of at least {PAUSE:g} s for {self._url.host}, found {pause:g}")
        self.host = self._url.netloc.decode()
        self.n_requests = 0
        self._pause = pause
        self._sleep = sleep
        self._on_wait = on_wait
        self._has_answered = False
        self._free_at = 0.0
        self._http = httpx.Client(
            headers=_headers(contact), timeout=timeout, follow_redirects=False, verify=_certificates()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def rest_since(self, at: float) -> None:
        """Keep the pause from an earlier request too, which another process sent at this time (of time.time)."""
        self._free_at = time.monotonic() + min(max(at + self._pause - time.time(), 0.0), self._pause)

    def ask(self, verb: str, arguments: Mapping[str, str] | None = None) -> Answer:
        """What the server answers, asked again where it cannot answer now.

        Raises OaiError for what it says, and ServerError where there is no answer.
        """
        retrying = tenacity.Retrying(
            stop=self._is_enough,
            wait=self._wait,
            retry=tenacity.retry_if_exception_type((_Later, Malformed)),
            before_sleep=self._tell,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            answer = retrying(self._ask_once, verb, {"verb": verb, **(arguments or {})})
        except (_Later, Malformed) as error:
            raise ServerError(
                f"expected an answer to {verb} from {self.host}, found: {error}; the same command goes on from here"
            ) from error
        except OaiError:
            self._has_answered = True
            raise
        self._has_answered = True
        return answer

    def _is_enough(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        is_busy = isinstance(error, _Later) and error.is_busy
        if isinstance(error, _Later) and (error.after or 0) > MAX_SECONDS:
            return True
        return state.attempt_number >= (ATTEMPTS if self._has_answered or is_busy else ATTEMPTS_AT_FIRST)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _Later) and error.after is not None:
            return max(error.after, self._pause)
        return min(self._pause * 2.0 ** (state.attempt_number - 1), MAX_SECONDS)

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        logger.info("%s: %s", self.host, error)
        if self._on_wait is not None and state.upcoming_sleep > 0:
            self._on_wait(state.upcoming_sleep, str(error))

    def _ask_once(self, verb: str, arguments: Mapping[str, str]) -> Answer:
        url, query = self._url, dict(arguments)
        for _ in range(_MAX_REDIRECTS + 1):
            found = self._get(url, query)
            if isinstance(found, bytes):
                return read_answer(found, verb)
            url, query = found, ({} if found.query else query)
        raise ServerError(f"expected an answer from {self.host}, found redirects without an end")

    def _get(self, url: httpx.URL, query: Mapping[str, str]) -> bytes | httpx.URL:
        """A whole body, or where to ask instead."""
        if (wait := self._free_at - time.monotonic()) > 0:
            self._sleep(wait)
        self.n_requests += 1
        deadline = time.monotonic() + MAX_SECONDS
        try:
            # params= encodes the values, tokens too, which come encoded once already and must be once more.
            with self._http.stream("GET", url, params=query or None) as response:
                if response.is_redirect:
                    return self._redirect(response)
                if response.status_code in _BUSY:
                    raise _busy(response)
                body = _read(response, deadline)
        except httpx.HTTPError as error:
            raise _Later(str(error) or type(error).__name__) from error
        finally:
            self._free_at = time.monotonic() + self._pause
        if response.status_code != 200:
            self._refused(response, body)
        return body

    def _redirect(self, response: httpx.Response) -> httpx.URL:
        target = response.url.join(response.headers.get("Location", ""))
        is_same = target.host == self._url.host and target.scheme in (self._url.scheme, "https")
        if not is_same:
            raise ServerError(
                f"expected an answer from {self.host}, found a redirect to {target.host}; name it with --base-url if"
                " that is where you want to ask"
            )
        return target

    def _refused(self, response: httpx.Response, body: bytes) -> None:
        """A status that is an error: the protocol's own one if the body has it."""
        try:
            read_answer(body, "error")
        except OaiError:
            raise
        except ServerError:
            pass  # a page that says so in its own way
        raise ServerError(f"expected an answer from {response.url.copy_with(query=None)}, found {_status(response)}")


def _address(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query:
        raise OptionError(f"expected an address such as https://oaipmh.arxiv.org/oai, found {text!r}")
    if url.userinfo:  # the address is kept beside the file, and said
        raise OptionError(f"expected an address without a name and a password, found one for {url.host}")
    return url


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust: read once a process, which takes 50 ms."""
    return httpx.create_ssl_context()


def _headers(contact: str | None) -> dict[str, str]:
    if contact is not None and (not contact.isascii() or not contact.isprintable() or not contact.strip()):
        raise OptionError(f"expected a mail or web address as contact, found {contact!r}")
    agent = f"embedsearch/{__version__} (harvester of paper metadata{f'; {contact}' if contact else ''})"
    return {"User-Agent": agent, "Accept": "text/xml, application/xml"} | (
        {"From": contact} if contact and "@" in contact else {}
    )


def _read(response: httpx.Response, deadline: float) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ServerError(f"expected an answer below {MAX_BYTES >> 20} MB from {response.url.host}, found more")
        if time.monotonic() > deadline:
            raise _Later(f"an answer that takes more than {MAX_SECONDS / 60:.0f} minutes")
    return bytes(body)


def _busy(response: httpx.Response) -> _Later:
    after = _retry_after(response.headers.get("Retry-After"))
    asks = f", which asks for {after:,.0f} seconds of rest" if after else ""
    return _Later(_status(response) + asks, is_busy=True, after=after)


def _status(response: httpx.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


def _retry_after(text: str | None) -> float | None:
    """Seconds, from seconds or from a date of HTTP. None for what is neither."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)
