"""Search arXiv abstracts by meaning, and see how a language model sees a literature.

    import embedsearch

    embedsearch.build_index("papers.jsonl.gz", "indexes/mine")
    searcher = embedsearch.Searcher.open("indexes/mine")
    for hit in searcher.search("magnetized plasma", k=5).hits:
        print(hit.score, hit.id, hit.title)

Names are loaded when they are first used, so that `import embedsearch` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from embedsearch._version import __version__

if TYPE_CHECKING:
    from embedsearch.ann import AnnKind
    from embedsearch.build import BuildOptions, BuildReport, build_index
    from embedsearch.client import AsyncClient, Client, connect
    from embedsearch.corpus import Selection
    from embedsearch.encoders import Compute, Encoder, ModelSpec, Pooling, Recipe, Role, open_encoder
    from embedsearch.errors import EmbedsearchError
    from embedsearch.records import Hit, Paper, SearchResult
    from embedsearch.search import Combine, Mode, Searcher, Sort
    from embedsearch.store.filters import Filters
    from embedsearch.store.info import StoreInfo, store_info
    from embedsearch.store.space import Aligned, Space, align
    from embedsearch.store.vector_writer import write_space
    from embedsearch.verify import verify_store

_HOME = {
    "Aligned": "store.space",
    "AnnKind": "ann",
    "AsyncClient": "client",
    "BuildOptions": "build",
    "BuildReport": "build",
    "Client": "client",
    "Combine": "search",
    "Compute": "encoders",
    "EmbedsearchError": "errors",
    "Encoder": "encoders",
    "Filters": "store.filters",
    "Hit": "records",
    "Mode": "search",
    "ModelSpec": "encoders",
    "Paper": "records",
    "Pooling": "encoders",
    "Recipe": "encoders",
    "Role": "encoders",
    "SearchResult": "records",
    "Searcher": "search",
    "Selection": "corpus",
    "Sort": "search",
    "Space": "store.space",
    "StoreInfo": "store.info",
    "align": "store.space",
    "build_index": "build",
    "connect": "client",
    "open_encoder": "encoders",
    "store_info": "store.info",
    "verify_store": "verify",
    "write_space": "store.vector_writer",
}

__all__ = [
    "Aligned",
    "AnnKind",
    "AsyncClient",
    "BuildOptions",
    "BuildReport",
    "Client",
    "Combine",
    "Compute",
    "EmbedsearchError",
    "Encoder",
    "Filters",
    "Hit",
    "Mode",
    "ModelSpec",
    "Paper",
    "Pooling",
    "Recipe",
    "Role",
    "SearchResult",
    "Searcher",
    "Selection",
    "Sort",
    "Space",
    "StoreInfo",
    "__version__",
    "align",
    "build_index",
    "connect",
    "open_encoder",
    "store_info",
    "verify_store",
    "write_space",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'embedsearch' has no attribute {name!r}")
    return getattr(import_module(f"embedsearch.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
