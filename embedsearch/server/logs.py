"""What a server writes to stderr: a line for each request, and messages, as text or as JSON.

No line holds a query (they are private: of an address the path alone is written), a key, or a control character that
a client sent.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

ACCESS = "embedsearch.access"

PATH_SHOWN = 200
"""Characters of a path that are written."""

_access = logging.getLogger(ACCESS)


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was answered."""

    request_id: str
    client: str
    method: str
    path: str
    """As it was sent, without what follows a "?"."""
    status: int
    """499: the client had gone before."""
    bytes: int
    """Of the answer's body."""
    ms: float
    generation: int | None
    """Of the index, where one answered."""

    def as_text(self) -> str:
        """client method path status bytes milliseconds generation id"""
        generation = f"generation {self.generation}" if self.generation is not None else "-"
        return (
            f"{self.client} {self.method} {self.path} {self.status} {self.bytes} bytes {self.ms} ms {generation}"
            f" {self.request_id}"
        )


def write_access(request: Answered) -> None:
    """Write the line of a request."""
    if _access.isEnabledFor(logging.INFO):
        _access.info("%s", request)


def clean(text: str, *, limit: int = PATH_SHOWN) -> str:
    """`text` as one word for a line: what is not a visible ASCII character is escaped, and it is cut at `limit`."""
    shown = text if len(text) <= limit else text[:limit] + "..."
    return "".join(
        c if "!" <= c <= "~" else c.encode("unicode_escape").decode() if c != " " else "\\x20" for c in shown
    )


class TextFormatter(logging.Formatter):
    """TIME LEVEL MESSAGE, or TIME and a request's line. Further lines of a message are indented: none can pass for
    another entry."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry."""
        request = _request(record)
        if request is not None:
            return f"{_time(record)} {request.as_text()}"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        lines = ["".join(c if c.isprintable() else " " for c in line) for line in text.splitlines()]
        return "\n    ".join([f"{_time(record)} {record.levelname} {lines[0] if lines else ''}", *lines[1:]])


class JSONFormatter(logging.Formatter):
    """An object a line: time, level and message (with an exception's traceback), or time and a request's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry."""
        request = _request(record)
        entry: dict[str, Any] = {"time": _time(record), "level": record.levelname}
        if request is not None:
            entry |= msgspec.structs.asdict(request)
        else:
            entry["message"] = _encodable(record.getMessage())
            if record.exc_info:
                entry["traceback"] = _encodable(self.formatException(record.exc_info))
        return msgspec.json.encode(entry).decode()


class NotTold(logging.Filter):
    """Leaves out what uvicorn says of a failed start beside its reason."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is written."""
        return record.msg not in ("", "Application startup failed. Exiting.")


def _request(record: logging.LogRecord) -> Answered | None:
    given = record.args[0] if isinstance(record.args, tuple) and record.args else None
    return given if isinstance(given, Answered) else None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log_config(format: str, *, level: int) -> dict[str, Any]:
    """For logging.config.dictConfig, in each process: `format` is text, json or none (no line for a request).

    Of uvicorn's own loggers errors alone are shown. `level` is that of embedsearch's messages.
    """
    formatter = JSONFormatter if format == "json" else TextFormatter
    access = logging.CRITICAL if format == "none" else logging.INFO
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": {"()": formatter}},
        "filters": {"told": {"()": NotTold}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
        "loggers": {
            "embedsearch": {"handlers": ["stderr"], "level": level, "propagate": False},
            "embedsearch.queries": {"level": level if level <= logging.DEBUG else logging.ERROR},
            ACCESS: {"handlers": ["stderr"], "level": access, "propagate": False},
            "uvicorn": {"handlers": ["stderr"], "level": logging.ERROR, "propagate": False},
            "uvicorn.error": {"level": logging.ERROR, "filters": ["told"]},
            "uvicorn.access": {"level": logging.CRITICAL},
        },
    }
