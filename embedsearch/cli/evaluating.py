"""Running an evaluation for its command: entries opened or made, with progress on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from embedsearch.cli.cost import Cost
from embedsearch.cli.options import DEFAULT_INDEX, is_quiet
from embedsearch.cli.terminal import Display

if TYPE_CHECKING:
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.encoders import Compute
    from embedsearch.evaluate import Entry, Evaluation, Making
    from embedsearch.evaluate.sizes import SizeCurve
    from embedsearch.plots.evaluation import QualityCost


class EvaluateDisplay(Display):
    """Progress of an evaluation, on stderr: a bar on a terminal, a plain line now and then elsewhere. As a context."""

    def __init__(self) -> None:
        super().__init__()
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far it is."""
        if self._quiet:
            return
        if what != self._what:
            self._end_task()
            self._what, self._task = what, self._bar.add_task(what, total=total, rate="")
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
        self._plain_line(f"{what}: {done / max(total, 1):.0%}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be evaluated: the command's arguments and options of these names."""

    targets: Sequence[str]
    index: Path | None
    corpus: str | None
    query_model: str | None
    sample: int | None
    seed: int
    work: Path | None
    compute: Compute
    yes: bool


@contextmanager
def entries_of(asked: Asked) -> Iterator[list[Entry]]:
    """The entries, opened. What is made of models and files is gone afterwards, unless it has a folder to stay in."""
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.evaluate import distinct, open_entry
    from embedsearch.store.manifest import read_manifest

    targets = asked.targets or (str(asked.index or DEFAULT_INDEX),)
    if not asked.targets:
        read_manifest(Path(targets[0]))  # it must be an index, no other entry
    with TemporaryDirectory(prefix="embedsearch-") as temporary:
        opened = []
        for target in targets:
            with BuildDisplay(quiet=is_quiet()) as display:
                cost = Cost(yes=asked.yes, dry_run=False, quiet=is_quiet(), paused=display.paused)
                opened.append(open_entry(target, _making(asked, targets, Path(temporary), display, cost)))
        yield distinct(opened)


def _making(asked: Asked, targets: Sequence[str], temporary: Path, display: BuildDisplay, cost: Cost) -> Making:
    """Of the named corpus, else the papers of the first index, else the sample."""
    from embedsearch.encoders import ModelSpec
    from embedsearch.evaluate import Making
    from embedsearch.evaluate.entries import is_store
    from embedsearch.store.manifest import read_manifest

    first = next((target for target in targets if is_store(target)), None)
    corpus = asked.corpus or first
    if corpus is None and not is_quiet():
        click.echo("No corpus was named: taking the bundled sample, 120 invented papers.", err=True)
    template = read_manifest(Path(corpus)).serving.template if corpus is not None and is_store(corpus) else None
    return Making(
        work=asked.work or temporary,
        corpus=corpus,
        template=template,
        model=ModelSpec(name=asked.query_model) if asked.query_model else None,
        compute=asked.compute,
        sample=asked.sample,
        seed=asked.seed,
        progress=display,
        before_embedding=cost,
    )


def save_weights(found: Evaluation, entries: Sequence[Entry], targets: Sequence[str]) -> list[Path]:
    """Keep what was chosen, in the indexes that were there before: these."""
    from embedsearch.evaluate.entries import is_store
    from embedsearch.store.weight import save_hybrid_weight

    folder_of = {
        entry.name: entry.view.folder
        for entry, target in zip(entries, targets or (str(entries[0].view.folder),), strict=True)
        if is_store(target)
    }
    chosen = [choice for choice in found.choices if choice.entry in folder_of]
    for choice in chosen:
        folder = folder_of[choice.entry]
        save_hybrid_weight(folder, choice.weight)
        if not is_quiet():
            told = (
                ""
                if choice.is_better
                else f" The other half of the queries does not show it better than {choice.default:g}."
            )
            click.echo(f"{folder}: hybrid search has the weight {choice.weight:g} now.{told}", err=True)
    return [folder_of[choice.entry] for choice in chosen]


def check(out: Path | None) -> None:
    """Raise, before hours of embedding, where measures cannot be taken, or no figure be written."""
    from embedsearch.evaluate.measuring import measure_ranked

    measure_ranked([], [])
    if out is not None:
        from embedsearch import plots

        plots.check_figure_path(out)


def write_figures(found: Evaluation, out: Path, about: dict[str, str]) -> list[Path]:
    """Quality against cost, where that was measured, and against the size of the corpus; every number, as JSON."""
    from embedsearch import plots
    from embedsearch.plots.evaluation import cost_figure, sizes_figure
    from embedsearch.render import evaluation as tables
    from embedsearch.store.atomic import write_bytes

    written = []
    label, points = _cost_points(found)
    if points:
        plots.save_figure(cost_figure(points, x_label=label), out)
        written.append(out)
    if found.sizes:
        path = out.with_stem(f"{out.stem}-sizes") if written else out
        plots.save_figure(sizes_figure(_size_curves(found)), path)
        written.append(path)
    write_bytes(out.with_suffix(".json"), tables.to_text(found, "json", about=about).encode())
    return [*written, out.with_suffix(".json")]


def _cost_points(found: Evaluation) -> tuple[str, list[QualityCost]]:
    """Each entry by the modes of its model, or by words if it has none, on the first queries: against the hours of
    embedding, where these are known of all, else against the time of a query."""
    from embedsearch.plots.evaluation import QualityCost

    n, queries = found.n_papers_asked or found.n_papers, next(iter(found.n_queries))
    label, costs = f"hours to embed {n:,} papers", {cost.entry: cost.at(n).hours for cost in found.costs}
    if None in costs.values():
        label = "milliseconds a query"
        costs = {cost.entry: cost.ms_a_query.value if cost.ms_a_query else None for cost in found.costs}
    modes = {cost.entry: cost.mode for cost in found.costs}
    points = [
        QualityCost(entry, cost, of.intervals["MRR@10"], mode)
        for entry, cost in costs.items()
        for mode in (("keyword",) if modes[entry] == "keyword" else ("dense", "hybrid"))
        if cost is not None and (of := found.figure(entry, queries, mode)) is not None
    ]
    return label, points


def _size_curves(found: Evaluation) -> dict[str, SizeCurve]:
    """Of the first queries: each entry by the best mode that it has, or one entry by all."""
    first = next(iter(found.n_queries))
    curves = [of for of in found.sizes if of.queries == first]
    if len(found.entries) == 1:
        return {of.mode: of.curve for of in curves}
    return {of.entry: of.curve for of in curves}  # the last, hybrid, stands
