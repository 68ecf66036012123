"""What a service answers: vectors, which are checked, or an error, which becomes one line without the key in it."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedsearch.encoders.services import KEY, Address
from embedsearch.errors import EncoderError

if TYPE_CHECKING:
    import openai

AGAIN = "the same command goes on from there"
MOST_CHARACTERS = 200
"""Of what a service says."""


class _Item(msgspec.Struct):
    index: int
    embedding: str | list[float]


class Answer(msgspec.Struct):
    """The body of an answer, of which no more is read than this."""

    data: list[_Item]
    model: str | None = None


def read_answer(body: bytes, *, host: str) -> Answer:
    """Raises EncoderError for a body that is not what the endpoint is documented to answer."""
    try:
        return msgspec.json.decode(body, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EncoderError(
            f"expected embeddings as JSON from {host}, found {len(body):,} bytes of another thing ({error}): is its"
            " address right, and is it complete?"
        ) from None


def vectors_of(answer: Answer, *, n: int, dim: int | None, host: str) -> NDArray[np.float32]:
    """(n, d) float32 in the order of the texts, as they came: neither finite nor of unit length for sure.

    Raises EncoderError unless each of the n texts has one vector, all of length `dim` (None: of one length).
    """
    found = sorted(item.index for item in answer.data)
    if found != list(range(n)):
        raise EncoderError(f"expected vectors 0 to {n - 1} from {host}, found {_brief(found)}; {AGAIN}")
    rows = [_numbers(item.embedding, host) for item in sorted(answer.data, key=lambda item: item.index)]
    expected = len(rows[0]) if dim is None else dim
    for row in rows:
        if len(row) != expected or not expected:
            raise EncoderError(
                f"expected vectors of {expected or 'some'} numbers from {host}, found one of {len(row)}: does it serve"
                " another model under this name?"
            )
    return np.stack(rows)


def _numbers(embedding: str | list[float], host: str) -> NDArray[np.float32]:
    """base64 of little-endian float32, or a list where a server does not know that form."""
    if isinstance(embedding, list):
        with np.errstate(over="ignore"):  # infinity is found later, as what it is
            return np.array(embedding, np.float64).astype(np.float32)
    try:
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise EncoderError(f"expected base64 of float32 numbers from {host}, found another thing; {AGAIN}") from None


def _brief(indices: list[int]) -> str:
    return f"{len(indices)}: {', '.join(map(str, indices[:5]))}{', ...' if len(indices) > 5 else ''}"


def explained(
    error: openai.OpenAIError,
    *,
    model: str,
    address: Address,
    key: str,
    wanted: str = "vectors",
    smaller: str = "--max-tokens makes texts shorter, --token-budget requests smaller",
    again: str = AGAIN,
) -> EncoderError:
    """The error of a request that failed for good, in one line: what was wanted, and what a user can do."""
    import openai

    host = address.host
    if isinstance(error, openai.APITimeoutError):
        return EncoderError(f"expected an answer from {host}, found none in time: try fewer at once; {again}")
    if isinstance(error, openai.APIConnectionError):
        cause = type(error.__cause__).__name__ if error.__cause__ else "no connection"
        return EncoderError(f"expected an answer from {address.url}, found none ({cause}): is it running? Then {again}")
    if not isinstance(error, openai.APIStatusError):
        return EncoderError(f"expected {wanted} from {host}, found an error of the client ({type(error).__name__})")
    status, said = error.status_code, _said(error, key)
    if status in (401, 403):
        return EncoderError(_refused(status, address))
    if status == 404:
        return EncoderError(
            f"expected the model {model!r} at {address.url}, found none such (404{said}): name one that it serves, and"
            " its address as far as /v1"
        )
    if status in (400, 413, 422):
        return EncoderError(f"expected {host} to take a request, found {status}{said}: {smaller}")
    advice = "wait, or lower --concurrency; " if status == 429 else ""
    return EncoderError(f"expected {wanted} from {host}, found only {status}{said}: {advice}{again}")


def _refused(status: int, address: Address) -> str:
    """What the service says about a key repeats parts of it, and is not shown."""
    if not address.takes_key:
        return (
            f"expected {address.host} to answer without a key, found {status}: the index names this server, not you; if"
            f" it may have your key, set OPENAI_BASE_URL={address.url}"
        )
    return (
        f"expected {address.host} to take the key in {KEY}, found that it is refused ({status}): set one that is right"
    )


def _said(error: openai.APIStatusError, key: str) -> str:
    """ ": ..." with what the service says, on one line, without keys; "" where it says nothing."""
    body = error.body
    text = str(body.get("message") or "") if isinstance(body, dict) else str(body or "")
    text = re.sub(r"\bsk-\S+|(?i:bearer)\s+\S+", "(a key)", text.replace(key, "(key)") if key != "none" else text)
    text = " ".join(text.split())
    return f": {text[:MOST_CHARACTERS].rstrip('.')}" if text else ""
