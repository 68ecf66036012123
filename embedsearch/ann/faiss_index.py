"""Indexes of FAISS: built, set so that they reach what is asked, written, and opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
from faiss.contrib.ivf_tools import add_preassigned

from embedsearch.ann.choice import LEAST_LIST, Plan
from embedsearch.ann.gpu import Gpu
from embedsearch.ann.kinds import FlatIndex, IvfIndex
from embedsearch.ann.measuring import Nearest, Probes, best_setting, measure, rows_as_probes, spread
from embedsearch.ann.protocol import AnnKind
from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.scores import Float32, Rows
from embedsearch.store.generation import Ann, AnnMeasure
from embedsearch.store.manifest import REPAIR
from embedsearch.store.vectors import ShardedVectors

TARGET = 0.99
"""Recall of the exact ten that an index is set for where none is asked for."""

TRAINING_ROWS_A_LIST = LEAST_LIST
TRAINING_ROUNDS = 5
"""Of k-means. With 4,096 lists of 3,000,000 vectors, 10 rounds over 50 rows a list took 105 s, 5 over 30 took 12 s; as
many lists then held as many of the exact ten."""

LOOKED_AT = 8
"""Centres that a graph keeps in view for the nearest one of a row that is added: of 3,000,000 vectors and 4,096 lists
99 % come into that of the nearest, with FAISS' own 16 99.6 %. Recall differed by 0.0003 ± 0.0003, and adding took a
quarter less of the processor."""

FLAT_QUERIES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What was built, and how it did. `missed` says in one phrase what would reach the target, "" where recall is
    not below it by more than its standard error.

    `plan` may have larger codes than was planned, where the target asked for them.
    """

    plan: Plan
    parameters: dict[str, int]
    recall: float
    measured: AnnMeasure
    missed: str = ""


def build(
    path: Path,
    plan: Plan,
    vectors: ShardedVectors,
    *,
    probes: Probes | None = None,
    recall: float = TARGET,
    memory: int | None = None,
    gpu: Gpu | None = None,
) -> Built:
    """Write an index of all vectors to `path`, set to reach this recall of the exact ten; `plan` says of which kind.

    Measured with `probes`, without them with stored rows. Where the codes are too coarse for the target, larger ones
    are built, as far as `memory` bytes hold them. With `gpu` lists are found there.

    Raises StoreError where the file cannot be written.
    """
    if plan.kind is AnnKind.FLAT:
        return _build_flat(path, plan, vectors, target=recall)
    probes = probes or rows_as_probes(vectors)
    choosing, reporting = probes.every_other(0), probes.every_other(1)
    truth = _exact_tens(vectors, probes)
    index = _filled(path, plan, vectors, centres=None, gpu=gpu)
    while True:
        setting, is_reached = best_setting(index, vectors, choosing, truth[::2], target=recall)
        larger = plan.with_more_bits()
        fits = larger is not None and (memory is None or larger.n_bytes(vectors.n_rows, vectors.dim) <= memory)
        if is_reached or larger is None or not fits:
            break
        plan, centres = larger, index.centres()
        path.unlink()  # not written over: the index that is left is mapped
        index = _filled(path, plan, vectors, centres=centres, gpu=gpu)
    index.set(n_probe=setting.n_probe, rescored=setting.rescored)
    found, measured = measure(index, vectors, reporting, truth[1::2], target=recall)
    missed = "a higher --recall" if is_reached else _what_would_do(larger, vectors)
    return Built(
        plan=plan,
        parameters={"n_lists": plan.n_lists, "bits": plan.bits, "n_probe": index.n_probe, "rescored": index.rescored},
        recall=found,
        measured=measured,
        missed=missed if found + measured.recall_error < recall else "",
    )


def extend(path: Path, known: Path, vectors: ShardedVectors, *, begin: int) -> None:
    """Write to `path` the index at `known` with the vectors from row `begin` on, set as that one is.

    Raises StoreCorrupt, or StoreError where the file cannot be written.
    """
    try:
        index = faiss.read_index(str(known))  # not mapped: to add to a mapped index ends the process
    except RuntimeError as error:
        raise StoreCorrupt(f"expected a FAISS index in {known}, found: {_short(error)}; {REPAIR}") from error
    for _, block in vectors.blocks(begin=begin):
        index.add(block)
    _write(path, index)


def load(path: Path, ann: Ann) -> FlatIndex | IvfIndex:
    """Open what `build` wrote and the manifest notes as `ann`: memory-mapped, so that processes share it."""
    try:
        return FlatIndex(_read(path)) if AnnKind(ann.kind) is AnnKind.FLAT else _opened_ivf(path, ann.parameters)
    except RuntimeError as error:
        raise StoreCorrupt(f"expected a FAISS index in {path}, found: {_short(error)}; {REPAIR}") from error


def _build_flat(path: Path, plan: Plan, vectors: ShardedVectors, *, target: float) -> Built:
    index = faiss.IndexFlatIP(vectors.dim)
    for _, block in vectors.blocks():
        index.add(block)
    _write(path, index)
    del index
    probes = rows_as_probes(vectors, FLAT_QUERIES)
    found, measured = measure(FlatIndex(_read(path)), vectors, probes, None, target=target)
    return Built(plan=plan, parameters={}, recall=found, measured=measured)


def _exact_tens(vectors: ShardedVectors, probes: Probes) -> list[Rows]:
    """Of each of `probes`. Not in passing while an index is filled: the threads of NumPy's products and those of FAISS
    go on turning for a while when they have nothing to do, and hold up each other: 300,000 vectors took 20 s for 11."""
    nearest = Nearest(probes)
    for first, block in vectors.blocks():
        nearest.add(first, block)
    return nearest.rows()


def _filled(path: Path, plan: Plan, vectors: ShardedVectors, *, centres: Float32 | None, gpu: Gpu | None) -> IvfIndex:
    """An index of all vectors, written and opened."""
    index = _trained(plan, vectors, centres, gpu)
    if gpu is None:
        for _, block in vectors.blocks():
            index.add(block)
    else:
        flat = faiss.IndexFlatIP(vectors.dim)
        flat.add(index.quantizer.reconstruct_n(0, plan.n_lists))
        centres_there = gpu.holding(flat)
        for _, block in vectors.blocks():
            add_preassigned(index, block, centres_there.search(block, 1)[1].ravel())
    _write(path, index)
    return _opened_ivf(path, {})


def _trained(plan: Plan, vectors: ShardedVectors, centres: Float32 | None, gpu: Gpu | None) -> faiss.IndexIVF:
    """An empty index with these centres, or with such as k-means finds in some of the vectors."""
    codes = "SQ8" if plan.bits == 8 else "RaBitQ" if plan.bits == 1 else f"RaBitQ{plan.bits}"
    graph = "_HNSW32" if plan.has_graph else ""
    index = faiss.index_factory(vectors.dim, f"IVF{plan.n_lists}{graph},{codes}", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = TRAINING_ROUNDS
    if centres is not None:
        index.quantizer.add(centres)
    n_training = min(vectors.n_rows, TRAINING_ROWS_A_LIST * plan.n_lists)
    there = None if gpu is None else gpu.holding(faiss.IndexFlatIP(vectors.dim))
    index.clustering_index = there  # what k-means asks for the nearest centre: a bare pointer
    index.train(vectors.rows(spread(vectors.n_rows, n_training)))
    index.clustering_index = None
    if plan.has_graph:
        faiss.downcast_index(index.quantizer).hnsw.efSearch = LOOKED_AT  # a search says its own
    return index


def _opened_ivf(path: Path, parameters: dict[str, int]) -> IvfIndex:
    return IvfIndex(_read(path), n_probe=parameters.get("n_probe", 1), rescored=parameters.get("rescored", 1))


def _read(path: Path) -> faiss.Index:
    # Of the two ways of mapping this one leaves lists where they lie; IO_FLAG_MMAP reads them five times as slowly.
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def _write(path: Path, index: faiss.Index) -> None:
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise StoreError(f"expected to write {path.parent}, found: {_short(error)}") from error


def _what_would_do(larger: Plan | None, vectors: ShardedVectors) -> str:
    n, dim = vectors.n_rows, vectors.dim
    flat = f"--ann flat, {Plan(kind=AnnKind.FLAT).n_bytes(n, dim) / 1e6:,.3g} MB"
    if larger is None:
        return flat
    return f"codes of {larger.bits} bits, --memory {larger.n_bytes(n, dim) / 1e6:,.3g}M, or {flat}"


def _short(error: RuntimeError) -> str:
    """FAISS puts function, file and condition before what it has to say."""
    return str(error).strip().rsplit(": ", 1)[-1] or "an error of FAISS"
