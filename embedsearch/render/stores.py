"""What a store is, for a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from embedsearch.render.terminal import printable
from embedsearch.store.info import StoreInfo
from embedsearch.store.manifest import build_command


def byte_size(n_bytes: float) -> str:
    """A size for people: 15.4 MB."""
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def info_table(info: StoreInfo) -> Table:
    """What a store is, for a terminal."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    state = "complete" if info.complete else f"{info.n_embedded / info.n_papers:.0%} embedded, not finished"
    recipe = info.recipe
    rows = {
        "index": f"{info.path}, generation {info.generation}, {state}",
        "papers": f"{info.n_papers:,} from {info.corpus['source']}"
        + (f"; {info.n_dead:,} dead rows until compact" if info.n_dead else ""),
        "left out": f"{info.corpus['n_empty']:,} without abstract, {info.corpus['n_repeated']:,} repeated ids"
        + (f", {n:,} without a vector" if (n := info.corpus["n_without_vector"]) else ""),
        "model": f"{info.model['name']}, weights {_weights(recipe['weights'])}",
        "taken from": _taken(info),
        "recipe": f"{recipe['pooling']}, up to {recipe['max_tokens']} tokens, template {info.template!r}"
        if info.vectors is None or info.vectors["has_encoder"]
        else "not known",
        "prompts": f"query {recipe['query_prompt']!r}, document {recipe['document_prompt']!r}"
        if recipe["query_prompt"] or recipe["document_prompt"]
        else "",
        "transform": _transform(info),
        "vectors": f"{info.n_embedded:,} of {info.dim} dimensions in {info.dtype}" if info.dim else "none yet",
        "tokens": f"{info.n_tokens:,}; {info.n_truncated:,} texts were cut" if info.vectors is None else "",
        "search": _search(info),
        "hybrid": _hybrid(info.hybrid_weight),
        "sizes": ", ".join(f"{name} {byte_size(size)}" for name, size in info.sizes.items() if size),
        "made with": "\n".join(", ".join(f"{k} {v}" for k, v in made.items()) for made in info.made_with),
        "history": _history(info),
        "times": f"begun {info.created}, last changed {info.updated}",
        "format": f"{info.format}, by {info.made_by}",
        "being built": f"generation {info.building}: go on with {build_command(Path(info.path))}"
        if info.building
        else "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, printable(value))
    return table


def _transform(info: StoreInfo) -> str:
    """The transform, and how many papers it was fitted on: it does not change when others come."""
    if info.transform is None or info.n_fitted is None:
        return info.transform or ""
    return f"{info.transform}, fitted on {info.n_fitted:,} papers"


def _history(info: StoreInfo) -> str:
    """How many states there were, the last, and which one can be gone back to."""
    if info.last is None:
        return ""
    kept = f"; kept to roll back to: generation {info.previous}" if info.previous else ""
    return f"{info.n_events:,} in `embedsearch log`; last: {info.last['what']}, {info.last['at']}{kept}"


def _search(info: StoreInfo) -> str:
    """What proposes the hits, how many of the exact ones, and how fast."""
    if info.ann is None:
        return "exact scan of the vectors"
    kind, recall, measured = info.ann["kind"], info.ann["recall"], info.ann["measured"]
    parameters = "".join(f", {name} {value}" for name, value in info.ann["parameters"].items())
    if measured is None:
        return f"{kind}, recall@10 {recall:.3f}{parameters}"
    missed = f", expected {measured['target']:g}" if recall + measured["recall_error"] < measured["target"] else ""
    time = f"{measured['latency_ms']:.2g} ± {measured['latency_error_ms']:.1g} ms a query"
    asked = f"in {measured['n_queries']} {measured['queries']}"
    return f"{kind}, recall@10 {recall:.3f} ± {measured['recall_error']:.3f}{missed}, {time} ({asked}){parameters}"


def _hybrid(weight: float | None) -> str:
    """The formula of hybrid scores, where it is the store's own."""
    return "" if weight is None else f"{weight:g} cosine + {1 - weight:.3g} BM25, chosen for this index"


def _taken(info: StoreInfo) -> str:
    """Where vectors came from that were there already, and what that means for queries."""
    if info.vectors is None:
        return ""
    source = info.vectors["source"] or "arrays in Python"
    return source if info.vectors["has_encoder"] else f"{source}: no recipe; a query by meaning needs --model"


def _weights(weights: str) -> str:
    """As much of a hash as tells it from others, alone or behind what it is of; what is no hash, whole."""
    of, colon, last = weights.rpartition(":")
    return of + colon + last[:12] if len(last) == 64 else weights
