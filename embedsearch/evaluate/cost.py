"""What an entry costs: papers a second and milliseconds a query on this machine, bytes a paper, a service's price."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

from embedsearch.ann import choose_kind
from embedsearch.ann.choice import plan_for
from embedsearch.encoders import Encoder, ModelSpec, Role
from embedsearch.encoders.service_tokens import Estimated
from embedsearch.encoders.services import Estimate, estimate, find_address, is_service, service_model
from embedsearch.evaluate.entries import Entry, Papers
from embedsearch.search import Mode, Searcher
from embedsearch.store.generation import Generation
from embedsearch.store.info import space_dim
from embedsearch.texts import Template

N_DOCUMENTS = 256
"""Papers, at most, whose embedding is timed: those of the smallest hashes."""
SPEED_SECONDS, LATENCY_SECONDS = 8.0, 3.0
ROUNDS = 5
FEWEST_TEXTS, FEWEST_QUERIES = 8, 10

clock = time.perf_counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The median of `n` timings with the quarter below and above it: of rounds over the same texts, or of queries."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Rate:
        """Of at least one."""
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        return cls(value=float(median), low=float(low), high=float(high), n=len(values))


def measure_speed(encoder: Encoder, documents: Sequence[str], *, seconds: float = SPEED_SECONDS) -> Rate:
    """Documents that `encoder` embeds in a second. The same ones in about ROUNDS rounds, as many as the time allows.

    Loading the weights is not timed. `documents` are as a corpus has them: their lengths decide.
    """
    encoder.encode(documents[:1], role=Role.DOCUMENT)
    chosen = documents[:1]
    for most in (FEWEST_TEXTS, len(documents)):  # some first, since a few in a batch say more than one alone
        each = _timed(lambda some=chosen: encoder.encode(some, role=Role.DOCUMENT)) / len(chosen)  # type: ignore[misc]
        chosen = documents[: max(1, min(most, int(seconds / ROUNDS / each)))]
    rounds: list[float] = []
    end = clock() + seconds
    while len(rounds) < 3 or (len(rounds) < ROUNDS and clock() < end):
        rounds.append(len(chosen) / _timed(lambda: encoder.encode(chosen, role=Role.DOCUMENT)))
    return Rate.of(rounds)


def measure_latency(
    answer: Callable[[str], object], queries: Sequence[str], *, seconds: float = LATENCY_SECONDS
) -> Rate:
    """Milliseconds that `answer` takes for one query, asked one after the other; the first two are not timed."""
    for query in queries[:2]:
        answer(query)
    taken: list[float] = []
    end = clock() + seconds
    for query in islice(cycle(queries), max(FEWEST_QUERIES, len(queries))):
        if len(taken) >= FEWEST_QUERIES and clock() >= end:
            break
        taken.append(1000 * _timed(lambda query=query: answer(query)))  # type: ignore[misc]
    return Rate.of(taken)


def _timed(work: Callable[[], object]) -> float:
    start = clock()
    work()
    return max(clock() - start, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """What `n_papers` would take: hours to embed them here (or at a service's limit), bytes on disk, US dollars.

    None: not known. The bytes are those of an index that build-index makes for so many papers.
    """

    n_papers: int
    hours: float | None
    n_bytes: float
    usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one entry. None is what is not known, or was not measured: nothing is sent to a service for this.

    `ms_a_query` is of a search by `mode` for ten hits in the store as it is, embedding the query included.
    `bytes_a_paper` is by kind of file; of an index made for an evaluation there is no ann. `tokens_a_paper` is in the
    model's own tokens; `usd_a_million_tokens` what a service asks for them.
    """

    entry: str
    n_papers: int
    dim: int | None
    is_service: bool
    papers_a_second: Rate | None
    ms_a_query: Rate | None
    mode: str
    bytes_a_paper: Mapping[str, float]
    tokens_a_paper: float | None
    usd_a_million_tokens: float | None
    tokens_a_minute: float | None

    def at(self, n_papers: int) -> Projection:
        """What a corpus of `n_papers` such papers would take."""
        kept = sum(size for kind, size in self.bytes_a_paper.items() if kind != "ann") * n_papers
        index = 0
        if self.dim is not None:
            index = plan_for(choose_kind(n_papers), n_papers, self.dim).n_bytes(n_papers, self.dim)
        tokens = None if self.tokens_a_paper is None else self.tokens_a_paper * n_papers
        hours = None if self.papers_a_second is None else n_papers / self.papers_a_second.value / 3600
        if tokens is not None and self.tokens_a_minute is not None:
            hours = tokens / self.tokens_a_minute / 60
        price = self.usd_a_million_tokens
        usd = None if price is None or tokens is None else price * tokens / 1e6
        return Projection(n_papers=n_papers, hours=hours, n_bytes=kept + index, usd=usd)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)


def cost_of(entry: Entry, papers: Papers, queries: Sequence[str], *, seconds: float | None = None) -> Cost:
    """Measure what `entry` costs, with some of `papers` and `queries`, in about ten seconds.

    `seconds` bounds either of the two measurements. Raises what searching and encoders raise.
    """
    generation = entry.view.generation
    spec = ModelSpec.from_dict(generation.model)
    by_service = is_service(spec)
    asks_service = entry.is_dense and entry.encoder.is_service(generation)
    template = Template.parse(generation.template)
    documents = [template.render(stored.paper) for stored in islice(papers.by_hash(), N_DOCUMENTS)]
    speed = latency = None
    if entry.is_dense and generation.has_encoder and not asks_service:
        speed = measure_speed(entry.encoder.of(generation), documents, seconds=seconds or SPEED_SECONDS)
    if not asks_service:
        searcher = _searcher(entry)
        mode = Mode.HYBRID if entry.is_dense else Mode.KEYWORD
        latency = measure_latency(
            lambda query: searcher.search(query, k=10, mode=mode), queries, seconds=seconds or LATENCY_SECONDS
        )
    tokens = _tokens_a_paper(generation)
    if tokens is None and by_service:
        tokens = float(Estimated().measure(documents, 1 << 30).n_tokens.mean())
    a_million = _asked(spec, 1_000_000) if by_service else None
    return Cost(
        entry=entry.name,
        n_papers=generation.n_papers,
        dim=space_dim(generation),
        is_service=by_service,
        papers_a_second=speed,
        ms_a_query=latency,
        mode=(Mode.HYBRID if entry.is_dense else Mode.KEYWORD).value,
        bytes_a_paper=bytes_a_paper(generation),
        tokens_a_paper=tokens,
        usd_a_million_tokens=a_million.usd if a_million else None,
        tokens_a_minute=60e6 / a_million.seconds if a_million and a_million.seconds else None,
    )


def bytes_a_paper(generation: Generation) -> dict[str, float]:
    """By kind of file, where there is one: of the papers that have a vector so far, the vectors."""
    n, n_embedded = max(1, generation.n_papers), max(1, generation.n_embedded)
    sizes = {
        "papers": generation.papers_size / n,
        "keywords": sum(entry.size for entry in generation.keywords) / n,
        "vectors": sum(shard.file.size for shard in generation.shards) / n_embedded,
        "ann": (generation.ann.file.size if generation.ann else 0) / n,
    }
    return {kind: size for kind, size in sizes.items() if size}


def _searcher(entry: Entry) -> Searcher:
    generation = entry.view.generation
    encoder = entry.encoder.of(generation) if entry.is_dense else None
    return Searcher.open(entry.view.folder, encoder=encoder)


def _tokens_a_paper(generation: Generation) -> float | None:
    """None where no encoder counted them."""
    n_tokens = sum(shard.n_tokens for shard in generation.shards)
    return n_tokens / (generation.n_embedded + generation.n_dead) if n_tokens else None


def _asked(spec: ModelSpec, n_tokens: int) -> Estimate:
    address = find_address(spec, from_store=True)
    return estimate(service_model(spec), address, n_texts=1, n_tokens=n_tokens, exact=True)
