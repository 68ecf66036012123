"""Imports go one way, and each module brings in only the libraries that its layer may."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import embedsearch

PACKAGE = Path(embedsearch.__file__).parent

LAYERS = [
    "_version", "errors", "records", "corpus", "texts", "scores", "measures", "device", "encoders", "transform",
    "store", "fetch", "keywords", "sentences", "ann", "stages", "build", "share", "update", "search", "duplicates",
    "pairs", "today", "map", "verify", "evaluate", "language", "training", "render", "plots", "client",
    "integrations", "server", "cli",
]  # fmt: skip
"""From the ground up: a module imports what stands before its own layer, or in it."""

OWNERS = {
    "torch": {"encoders", "device", "language", "training"},
    "transformers": {"encoders", "language", "training"},
    "tokenizers": {"encoders"},
    "safetensors": {"encoders", "language", "training"},
    "peft": {"language", "training"},
    "accelerate": {"training"},
    "datasets": {"training"},
    "sentence_transformers": {"training"},
    "ir_measures": {"evaluate"},
    "mteb": {"integrations"},
    "openai": {"encoders", "language"},
    "tiktoken": {"encoders"},
    "faiss": {"ann"},
    "ray": {"server", "stages"},
    "fsspec": {"stages"},
    "tantivy": {"keywords"},
    "matplotlib": {"plots"},
    "click": {"cli"},
    "pyarrow": {"corpus", "store"},
    "pandas": set(),
    "numba": {"pairs"},
    "threadpoolctl": {"pairs"},
    "httpx": {"client", "fetch"},
    "lxml": {"fetch"},
    "tenacity": {"fetch"},
    "bibtexparser": {"corpus"},
    "umap": {"map"},
    "sklearn": {"map"},
    "pynndescent": {"map"},
    "langchain_core": {"integrations"},
    "llama_index": {"integrations"},
    "mcp": {"integrations"},
    "mcp_types": {"integrations"},
    "fastapi": {"server"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "prometheus_client": {"server"},
    "jinja2": {"server"},
    "latex2mathml": {"server"},
    "pydantic": {"integrations", "server"},
}
"""Which layers may import a library themselves."""

HEAVY = [
    "torch", "transformers", "openai", "tiktoken", "faiss", "tantivy", "matplotlib", "pyarrow", "pandas", "pylatexenc",
    "rich", "click", "fastapi", "pydantic", "uvicorn", "httpx", "mcp", "langchain_core", "llama_index", "ray",
    "peft", "accelerate", "datasets", "sentence_transformers", "ir_measures", "mteb", "lxml", "bibtexparser", "umap",
    "sklearn",
]  # fmt: skip


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Everything that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def layer(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("name", [name for name in modules() if layer(name) not in ("", "__main__")])
def test_imports_go_one_way(name: str) -> None:
    mine = LAYERS.index(layer(name))
    wrong = [
        other for other in imports(modules()[name])
        if other.startswith("embedsearch.") and LAYERS.index(layer(other)) > mine
    ]  # fmt: skip
    assert not wrong


@pytest.mark.parametrize("name", list(modules()))
def test_a_library_is_imported_in_its_own_layer_alone(name: str) -> None:
    used = {other.split(".")[0] for other in imports(modules()[name])}
    for library, owners in OWNERS.items():
        assert library not in used or layer(name) in owners, f"{name} imports {library}"


def loaded_by(statement: str) -> set[str]:
    """The heavy libraries that a statement loads in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


EXPECTED = {
    "import embedsearch": set(),
    "import embedsearch.errors, embedsearch.records": set(),
    "import embedsearch.corpus": set(),
    "import embedsearch.texts": set(),
    "import embedsearch.scores, embedsearch.measures, embedsearch.transform": set(),
    "import embedsearch.encoders": set(),
    "import embedsearch.store.generation, embedsearch.store.manifest, embedsearch.store.info": set(),
    "import embedsearch.store.space, embedsearch.store.history, embedsearch.update": {"tantivy"},
    "import embedsearch.store.vector_files, embedsearch.store.vector_writer": set(),
    "import embedsearch.ann": set(),
    "import embedsearch.keywords, embedsearch.sentences": {"tantivy"},
    "import embedsearch.search": {"tantivy"},
    "import embedsearch.build": {"tantivy"},
    "import embedsearch.cli.main": {"click"},
    "import embedsearch.client": {"httpx", "click", "rich"},  # httpx's own command line
    "import embedsearch.device": {"torch"},
    "import embedsearch.plots": {"matplotlib"},
    "import embedsearch.render.tables": set(),
    "import embedsearch.render.results, embedsearch.render.bibtex": set(),
    "import embedsearch.render.terminal": {"rich"},
}


@pytest.mark.parametrize("statement", list(EXPECTED))
def test_what_is_loaded(statement: str) -> None:
    assert loaded_by(statement) <= EXPECTED[statement]


@pytest.mark.parametrize("name", [name for name in modules() if name != "embedsearch.__main__"])
def test_each_module_imports_alone(name: str) -> None:
    if layer(name) == "encoders" or name.count(".") < 2:  # the others are imported by these
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)


def test_public_names_exist_and_are_documented() -> None:
    for name in embedsearch.__all__:
        value = getattr(embedsearch, name)
        assert name == "__version__" or value.__doc__, name
    assert set(embedsearch._HOME) == set(embedsearch.__all__) - {"__version__"}


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
