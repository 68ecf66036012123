"""Errors as RFC 9457 problem documents: the only form in which one leaves the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import Response

from embedsearch.errors import (
    BadVector,
    EmbedsearchError,
    EncoderError,
    NotAllowed,
    OptionError,
    Overloaded,
    PaperNotFound,
    QueryError,
    RecipeMismatch,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    StoreNotFound,
    StoreTooNew,
    TookTooLong,
)

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[type[Exception], int] = {
    OptionError: 422,
    QueryError: 422,
    PaperNotFound: 404,
    BadVector: 422,
    EncoderError: 409,
    StoreError: 409,
    RecipeMismatch: 409,
    StoreNotFound: 503,
    StoreCorrupt: 503,
    StoreTooNew: 503,
    StoreLocked: 503,
    NotAllowed: 401,
    Overloaded: 503,
    TookTooLong: 504,
}
"""Of an error, or of the nearest class above it. Any other is a bug."""

RETRY_AFTER = 5
"""Seconds after which to try again where the error does not say."""

INTERNAL = "InternalError"
"""The code of what nobody foresaw."""


def problem(
    status: int,
    detail: str,
    *,
    code: str,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    request_id: str | None = None,
    for_openai: bool = False,
) -> Response:
    """The problem document of one error.

    `code` is the name of a class in embedsearch/errors.py, so that a client raises the same one again. Each of `errors`
    has "at" (body.k), "expected" and "found". A lone surrogate in any text becomes "?". `for_openai` has the detail
    once more as "message", which is what OpenAI's clients show.
    """
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _sendable(detail),
        "code": code,
        "request_id": request_id,
    }
    if for_openai:
        content["message"] = content["detail"]
    if errors:
        content["errors"] = [{key: _sendable(value) for key, value in error.items()} for error in errors]
    return Response(msgspec.json.encode(content), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(
    error: EmbedsearchError, *, request_id: str | None = None, hidden: Path | None = None, for_openai: bool = False
) -> Response:
    """The problem document of an error that was foreseen; its text names the folder `hidden` without where it lies."""
    status = status_of(error)
    if status == 500:
        return internal_error(request_id=request_id)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        headers["Retry-After"] = str(getattr(error, "retry_after", RETRY_AFTER))
    return problem(
        status,
        without_folder(str(error), hidden),
        code=code_of(error),
        headers=headers,
        request_id=request_id,
        for_openai=for_openai,
    )


def internal_error(*, request_id: str | None = None) -> Response:
    """The document of a bug: it says nothing of what happened."""
    detail = "expected an answer, found an error in the server, which its log describes under this request's id"
    return problem(500, detail, code=INTERNAL, request_id=request_id)


def status_of(error: EmbedsearchError) -> int:
    """The HTTP status of an error: its own `status`, where it has one, else that of its class."""
    own = getattr(error, "status", None)
    if isinstance(own, int):
        return own
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def code_of(error: EmbedsearchError) -> str:
    """The name of an error's class in the public tree; one that is private to a module has that of its base."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == EmbedsearchError.__module__)


def without_folder(text: str, folder: Path | None) -> str:
    """`text` with the folder's last name in place of its path: where things lie is the server's affair."""
    if folder is not None:
        for path in sorted({str(folder), str(folder.absolute()), str(folder.resolve())}, key=len, reverse=True):
            if "/" in path:  # "." may stand anywhere, and a bare name tells nothing
                text = text.replace(path, folder.absolute().name)
    return text


def _sendable(text: Any) -> str:
    return str(text).encode("utf-8", "replace").decode()
