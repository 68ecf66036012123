"""The encoder that asks a service: OpenAI's, Azure's, or any server with the same /embeddings endpoint.

Azure is asked by its address `https://NAME.openai.azure.com/openai/v1/`; the model is then the deployment's name.

A service's recipe is the model's name, not the address: a server that runs on another machine tomorrow has the same
model. What stands behind the name is for its owner to keep; each shard notes what the server said that it was.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedsearch._version import __version__
from embedsearch.encoders.protocol import Compute, Encoded, ModelSpec, Pooling, Prepared, Recipe, Role
from embedsearch.encoders.service_answers import explained, read_answer, vectors_of
from embedsearch.encoders.service_tokens import Tokens, tokens_of
from embedsearch.encoders.services import (
    MOST_TEXTS,
    MOST_TEXTS_ELSEWHERE,
    MOST_TOKENS,
    MOST_TOKENS_A_TEXT,
    OPENAI,
    SERVICE_MODELS,
    Address,
    find_address,
    find_key,
    service_model,
)
from embedsearch.errors import BadVector, EncoderError, MissingExtra, OptionError
from embedsearch.scores import unit_rows

if TYPE_CHECKING:
    import openai

REQUEST_TOKENS = 100_000
"""A third of what OpenAI allows: so the requests at once are alike in size, and progress is seen."""
RETRIES = {Role.DOCUMENT: 6, Role.QUERY: 2}
"""By the client, which waits longer each time, or as long as Retry-After says: a person waits for an answer to a query,
but a build may wait for half a minute."""
TIMEOUT = 300.0
"""Seconds: a server on a CPU takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What `prepare` makes: texts as they are sent, and as how many tokens each counts at most."""

    texts: list[str]
    at_most: NDArray[np.int64]
    role: Role


class ServiceEncoder:
    """Encodes by requests to a service, several at once. `open_encoder` makes it from a name.

    Nothing is sent before the first text is encoded. Safe to use from several threads. Raises MissingExtra where the
    client is not installed, OptionError for what a service cannot be asked.
    """

    def __init__(self, spec: ModelSpec, *, compute: Compute | None = None, from_store: bool = False) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingExtra(f"{spec.name} is asked through the package openai: pip install 'embedsearch[openai]'")
        self._model = service_model(spec)
        self._address = find_address(spec, from_store=from_store)
        self._spec = replace(spec, base_url=None if self._address.url == OPENAI else self._address.url)
        self._recipe = _recipe(spec, self._model)
        self._concurrency, self._request_tokens = _sizes(compute or Compute())
        known = SERVICE_MODELS.get(self._model)
        self._dim = known.dim if known else None
        self._called: str | None = None  # what the server says that it is
        self._lock = threading.Lock()

    @property
    def spec(self) -> ModelSpec:
        """The model as it was asked for, with the address that was found for it."""
        return self._spec

    @property
    def address(self) -> Address:
        """Where the service is."""
        return self._address

    @property
    def recipe(self) -> Recipe:
        """What the vectors are: the service's name for the model stands for its weights."""
        return self._recipe

    @property
    def dim(self) -> int:
        """Length of a vector. Of a model that is not known here, the service is asked once, with one word."""
        if self._dim is None:
            self.encode(["dimension"], role=Role.DOCUMENT)
        assert self._dim is not None
        return self._dim

    @property
    def made_with(self) -> Mapping[str, Any]:
        """The service, the model as it calls itself, how tokens were counted, and versions."""
        return {
            "service": self._address.url,
            "model": self._called or self._model,
            "tokens": self.tokens.name,
            "openai": importlib.metadata.version("openai"),
            "python": platform.python_version(),
            "embedsearch": __version__,
        }

    @functools.cached_property
    def tokens(self) -> Tokens:
        """How tokens are counted."""
        return tokens_of(self._model)

    @property
    def model(self) -> str:
        """What the service calls the model."""
        return self._model

    def encode(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Vectors of `texts`: (n, dim) float32, rows of unit length, in the order of the texts."""
        return self.encode_counted(texts, role=role).vectors

    def encode_counted(
        self, texts: Sequence[str], *, role: Role, progress: Callable[[int, int], None] | None = None
    ) -> Encoded:
        """Vectors of `texts` and their token counts: `prepare` and `encode_prepared`."""
        return self.encode_prepared(self.prepare(texts, role=role), progress=progress)

    def prepare(self, texts: Sequence[str], *, role: Role) -> Prepared:
        """The texts with the role's prompt before them, counted, and cut at the limit. Sends nothing."""
        prompt = self.recipe.query_prompt if role is Role.QUERY else self.recipe.document_prompt
        # Half of a surrogate pair cannot be sent.
        whole = [(prompt + text).encode(errors="replace").decode() for text in texts]
        measured = self.tokens.measure(whole, self.recipe.max_tokens)
        content = _Content(texts=measured.texts, at_most=measured.at_most, role=role)
        return Prepared(n_tokens=measured.n_tokens, truncated=measured.truncated, content=content)

    def encode_prepared(self, prepared: Prepared, *, progress: Callable[[int, int], None] | None = None) -> Encoded:
        """Vectors of the texts that this encoder has prepared.

        Raises BadVector for an empty text, which services refuse, or a vector that is zero or not finite; EncoderError
        for a request that failed after the client's retries, or was not answered as it must be. The requests that had
        not begun by then are not sent.
        """
        content: _Content = prepared.content
        empty = [position for position, text in enumerate(content.texts) if not text.strip()]
        if empty:
            raise BadVector(f"expected text, found nothing at position {empty[0]}", position=empty[0])
        if content.texts:
            _ = self._client  # made here, so that a missing key is found before there are threads
        parts: dict[int, NDArray[np.float32]] = {}
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="embedsearch-requests")
        try:
            requests = {pool.submit(self._ask, content, span): span for span in self._spans(content.at_most)}
            for done in as_completed(requests):
                span = requests[done]
                parts[span.start] = done.result()
                if progress is not None:
                    progress(span.stop - span.start, int(prepared.n_tokens[span].sum()))
        finally:
            pool.shutdown(cancel_futures=True)
        none = np.empty((0, self._dim or 0), np.float32)
        vectors = np.concatenate([parts[start] for start in sorted(parts)]) if parts else none
        return Encoded(vectors=vectors, n_tokens=prepared.n_tokens, truncated=prepared.truncated)

    def _spans(self, at_most: NDArray[np.int64]) -> Iterator[slice]:
        """The texts of each request: consecutive ones, no more than the service takes."""
        most_texts = MOST_TEXTS if self._address.is_provider else MOST_TEXTS_ELSEWHERE
        start = n_tokens = 0
        for position, more in enumerate(at_most):
            if position > start and (position - start == most_texts or n_tokens + more > self._request_tokens):
                yield slice(start, position)
                start, n_tokens = position, 0
            n_tokens += int(more)
        if len(at_most):
            yield slice(start, len(at_most))

    def _ask(self, content: _Content, span: slice) -> NDArray[np.float32]:
        """The unit vectors of one request's texts, (k, dim) float32."""
        import openai

        client, key = self._client
        texts = content.texts[span]
        try:
            # Raw, so that a body that is no answer is told from one that is, and no vector becomes a list of objects.
            response = client.with_options(max_retries=RETRIES[content.role]).embeddings.with_raw_response.create(
                input=texts, model=self._model, encoding_format="base64"
            )
        except openai.OpenAIError as error:
            # From None: the client's errors repeat parts of a key that is wrong, and a traceback would show them.
            raise explained(error, model=self._model, address=self._address, key=key) from None
        answer = read_answer(response.content, host=self._address.host)
        rows = vectors_of(answer, n=len(texts), dim=self._dim, host=self._address.host)
        self._learn(rows.shape[1], answer.model)
        try:
            return unit_rows(rows)
        except BadVector as error:
            position = span.start + error.position
            raise BadVector(f"{str(error).rsplit(' ', 1)[0]} {position}", position=position) from None

    def _learn(self, dim: int, called: str | None) -> None:
        with self._lock:
            self._called = called or self._called
            if self._dim not in (None, dim):  # by another request's answer
                raise EncoderError(f"expected vectors of {self._dim} numbers from {self._address.host}, found {dim}")
            self._dim = dim

    @functools.cached_property
    def _client(self) -> tuple[openai.OpenAI, str]:
        """The client, made when it is first needed: its import takes half a second; and the key that it sends."""
        import openai

        key = find_key(self._address)
        return openai.OpenAI(api_key=key, base_url=self._address.url, timeout=TIMEOUT), key


def _recipe(spec: ModelSpec, model: str) -> Recipe:
    for name, value in (("pooling", spec.pooling), ("revision", spec.revision)):
        if value is not None:
            raise OptionError(f"expected no {name} for {spec.name}, whose service decides about it, found one")
    limit = MOST_TOKENS_A_TEXT if spec.max_tokens is None else spec.max_tokens
    if not 1 <= limit <= MOST_TOKENS_A_TEXT:
        raise OptionError(f"max_tokens must be from 1 to {MOST_TOKENS_A_TEXT:,} for a service, was {limit}")
    return Recipe(
        weights=f"service:{model}",
        tokenizer="",
        config="",
        pooling=Pooling.SERVICE,
        query_prompt=spec.query_prompt or "",
        document_prompt=spec.document_prompt or "",
        max_tokens=limit,
    )


def _sizes(compute: Compute) -> tuple[int, int]:
    """Requests at once, and tokens in each."""
    tokens = REQUEST_TOKENS if compute.token_budget is None else compute.token_budget
    if compute.concurrency < 1 or tokens < 1:
        raise OptionError(f"expected at least 1 request at once of 1 token, found {compute.concurrency} of {tokens}")
    return compute.concurrency, min(tokens, MOST_TOKENS)
