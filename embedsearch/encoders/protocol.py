"""What an encoder is: texts in, vectors out, and a recipe that says how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Role(Enum):
    """What a text is to the model: some put another prompt before each."""

    QUERY = "query"
    DOCUMENT = "document"


class Pooling(Enum):
    """How the hidden states of a text's tokens become one vector.

    The members' values are what `--pooling` takes and what a recipe holds.
    """

    MEAN_WITHOUT_BOS = "mean-without-bos"
    """Mean over all tokens but the [BOS] that the tokenizer put first: the AstroLLaMA paper's."""

    MEAN = "mean"
    """Mean over all tokens."""

    CLS = "cls"
    """The first token."""

    LAST_TOKEN = "last-token"
    """The last token that is not padding."""

    SERVICE = "service"
    """What a service does, which it does not say. Nobody can ask for it: `--pooling` does not offer it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The identity of an embedding: two vectors can be compared if and only if their recipes are equal.

    Nothing here depends on the machine, the precision of the forward pass or where the files lie.
    `weights`, `tokenizer` and `config` are SHA-256 in hex of what was read. Prompts are "" where there are none.
    """

    weights: str
    tokenizer: str
    config: str
    pooling: Pooling
    query_prompt: str = ""
    document_prompt: str = ""
    max_tokens: int

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON can hold it."""
        return asdict(self) | {"pooling": self.pooling.value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """The recipe that `as_dict` gave; keys that it does not know are ignored."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**known | {"pooling": Pooling(data["pooling"])})

    def differences(self, other: Recipe) -> list[str]:
        """One phrase for each field in which `other` differs, this recipe's value first."""
        mine, its = self.as_dict(), other.as_dict()
        return [f"{name} {_brief(mine[name])} against {_brief(its[name])}" for name in mine if mine[name] != its[name]]


def _brief(value: object) -> str:
    """A hash to as many digits as tell hashes apart."""
    return repr(f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else value)


GIVEN = "given in Python"
"""Stands for a model's name where the encoder was an object of the caller's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Which model a user asks for, and what they set otherwise than the model states. None: as the model states.

    `name` is one of the named models, a local folder or GGUF file, a hub id, or openai:NAME for a service's, which is
    at `base_url`. Holds no secret: a store keeps it, so that its encoder can be opened again.
    """

    name: str = "minilm"
    revision: str | None = None
    pooling: Pooling | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_tokens: int | None = None
    trust_remote_code: bool = False
    base_url: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON can hold it."""
        return asdict(self) | {"pooling": self.pooling.value if self.pooling else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelSpec:
        """The request that `as_dict` gave; keys that it does not know are ignored."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**known | {"pooling": Pooling(data["pooling"]) if data.get("pooling") else None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How to compute: changes the speed, and the last digits, never the recipe."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """Of the forward pass: auto, float32, bfloat16 or float16."""
    token_budget: int | None = None
    """Tokens in a batch, padding counted; None: chosen by device. Of a service: in a request."""
    concurrency: int = 4
    """Requests to a service at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Vectors of some texts, and what it took.

    `vectors` is (n, dim) float32 with rows of unit length, in the order of the texts. `n_tokens` is (n,) int64: the
    tokens of each text, prompt and special tokens counted, before it was cut at the limit. `truncated` is (n,) bool.
    """

    vectors: NDArray[np.float32]
    n_tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Texts that an encoder has made ready, so that one thread can prepare while another computes.

    `n_tokens` and `truncated` are as in `Encoded`; `content` is for the encoder that made it.
    """

    n_tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    content: Any


class Encoder(Protocol):
    """Anything that makes vectors of texts."""

    @property
    def recipe(self) -> Recipe:
        """What the vectors are; known without loading the model."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def made_with(self) -> Mapping[str, Any]:
        """A record of device, dtype, token budget, attention and versions; JSON can hold it."""

    def prepare(self, texts: Sequence[str], *, role: Role) -> Prepared:
        """What can be done for `texts` without the model: may run in a thread beside `encode_prepared`."""

    def encode_prepared(self, prepared: Prepared, *, progress: Callable[[int, int], None] | None = None) -> Encoded:
        """Vectors of the texts that `prepare` was given; `encode_counted` is the two of them."""

    def encode_counted(
        self, texts: Sequence[str], *, role: Role, progress: Callable[[int, int], None] | None = None
    ) -> Encoded:
        """Vectors of `texts` and their token counts.

        A text's vector does not depend on its neighbours. `progress(n_texts, n_tokens)` is called after each batch
        with what it took. Raises BadVector, whose message holds the position of the text, if a vector is not finite.
        """

    def encode(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Vectors of `texts`: (n, dim) float32, rows of unit length, in the order of the texts."""
