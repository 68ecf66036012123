"""What is known of services that embed: models, limits, prices; where one is, and whether it is given the key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from embedsearch.encoders.models import NAMED_MODELS, NAMED_SERVICES
from embedsearch.encoders.protocol import ModelSpec
from embedsearch.errors import EncoderError, OptionError

PREFIX = "openai:"
OPENAI = "https://api.openai.com/v1"
PROVIDERS = (".api.openai.com", ".openai.azure.com")
"""Ends of the hosts that have OpenAI's models, regions before them. All want a key."""

BASE_URL = "OPENAI_BASE_URL"
KEY = "OPENAI_API_KEY"
"""The environment's, of the names that the client and other programs use."""

MOST_TOKENS_A_TEXT = 8191
"""OpenAI's documentation gives 8,192 in one place and 8,191 in another."""
MOST_TEXTS = 2048
MOST_TOKENS = 300_000
"""In a request, by OpenAI's documentation of the endpoint."""
MOST_TEXTS_ELSEWHERE = 32
"""In a request to another server: text-embeddings-inference refuses more unless it was started otherwise."""

PRICES_AS_OF = "May 2026"
TOKENS_A_MINUTE = 1_000_000
"""OpenAI's limit for a new paying account, in each of its embedding models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceModel:
    """A model of OpenAI's; `price` is in US dollars for a million tokens, as of PRICES_AS_OF."""

    dim: int
    price: float


SERVICE_MODELS = {
    "text-embedding-ada-002": ServiceModel(dim=1536, price=0.10),
    "text-embedding-3-small": ServiceModel(dim=1536, price=0.02),
    "text-embedding-3-large": ServiceModel(dim=3072, price=0.13),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a service is. `takes_key`: it is OpenAI's, or the user named it."""

    url: str
    takes_key: bool

    @property
    def host(self) -> str:
        """For people: with the port, where there is one."""
        return urlsplit(self.url).netloc

    @property
    def is_provider(self) -> bool:
        """Whether it has OpenAI's models."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" and f".{parts.hostname}".endswith(PROVIDERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What sending texts will take. `exact`: the tokens were counted. None is what is not known."""

    n_texts: int
    n_tokens: int
    exact: bool
    usd: float | None
    seconds: float | None


def estimate(model: str, address: Address, *, n_texts: int, n_tokens: int, exact: bool) -> Estimate:
    """Price and time of `n_tokens` for the service's `model`; the time is what OpenAI's limit for a new account allows.

    Azure's prices are taken to be OpenAI's own.
    """
    known = SERVICE_MODELS.get(model) if address.is_provider else None
    return Estimate(
        n_texts=n_texts,
        n_tokens=n_tokens,
        exact=exact,
        usd=n_tokens * known.price / 1e6 if known else None,
        seconds=n_tokens / TOKENS_A_MINUTE * 60 if address.is_provider else None,
    )


def is_service(spec: ModelSpec) -> bool:
    """Whether a model is a service's: ada-002, openai:NAME, or any with a base URL."""
    return spec.name in NAMED_SERVICES or spec.name.startswith(PREFIX) or spec.base_url is not None


def service_model(spec: ModelSpec) -> str:
    """What the service calls the model. Raises OptionError for a name that stands for no service's."""
    named = NAMED_SERVICES.get(spec.name)
    name = named.model if named else spec.name.removeprefix(PREFIX)
    if spec.name in NAMED_MODELS or not name:
        raise OptionError(
            f"expected the name of a model of {spec.base_url or OPENAI} as openai:NAME, found {spec.name!r}"
        )
    return name


def find_address(spec: ModelSpec, *, from_store: bool) -> Address:
    """Where the service is: `base_url`, else OPENAI_BASE_URL, else OpenAI.

    `from_store`: the spec is one that a store kept. Then OPENAI_BASE_URL comes first, since servers move; and without
    it, a server that is not OpenAI's gets no key: who made the store must not decide where a reader's key goes.
    Raises OptionError for an address with a password or a query, which a store would keep.
    """
    by_environment = os.environ.get(BASE_URL) or None
    first, second = (by_environment, spec.base_url) if from_store else (spec.base_url, by_environment)
    url = (first or second or OPENAI).strip().rstrip("/")
    _check(url)
    by_user = not from_store or by_environment is not None
    address = Address(url=url, takes_key=by_user)
    return Address(url=url, takes_key=by_user or address.is_provider)


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        plain = False
    # The address is not repeated: it may hold what must not be shown.
    if not plain or "@" in parts.netloc or parts.query or parts.fragment:
        raise OptionError(
            f"expected a base URL such as {OPENAI} or http://localhost:8080/v1, found no such address, or one"
            f" with a user, a password or a query in it: the key goes into {KEY}"
        )


def find_key(address: Address) -> str:
    """The key for a service, "none" for one that gets or needs none. Raises EncoderError where there has to be one."""
    key = os.environ.get(KEY, "").strip() if address.takes_key else ""
    if not key and address.is_provider:
        raise EncoderError(f"expected a key for {address.host} in {KEY}, found none: set it in the environment")
    # What cannot stand in a header would come back in an error of the client, in full.
    if not key.isascii() or not key.isprintable():
        raise EncoderError(f"expected a key of plain characters in {KEY}, found others: set it again")
    return key or "none"
