"""Running a build for a command: from the options that build-index and embed share to a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.cost import Cost
from embedsearch.cli.options import is_quiet, parse_fields

if TYPE_CHECKING:
    from embedsearch.build import BuildOptions, BuildReport
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.encoders import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A store to be made: `shared` are the values of `corpus_options`, `model_options`, `compute_options` and
    `service_options` by name."""

    corpus: str | None
    index: Path
    shared: Mapping[str, Any]
    ann: str | None = None
    overwrite: bool = False
    vectors: str | None = None
    vector_fields: Mapping[str, str] = field(default_factory=dict)


def run(task: Task) -> tuple[BuildReport, BuildDisplay]:
    """Build, with progress on stderr; the display can say more of the report."""
    from embedsearch.build import build_index
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.encoders import Compute

    shared, options, spec = task.shared, build_options(task), model_spec(task)
    if task.corpus is None and not (task.index / "manifest.json").exists():
        click.echo("No corpus was named: taking the bundled sample, 120 invented papers.", err=True)
    names = ("device", "dtype", "token_budget", "concurrency")
    with BuildDisplay(quiet=is_quiet()) as display:
        cost = Cost(yes=shared["yes"], dry_run=shared["dry_run"], quiet=is_quiet(), paused=display.paused)
        with cost.target(task.corpus, task.index, options) as (papers, folder, asked_of):
            report = build_index(
                papers,
                folder,
                model=spec,
                vectors=task.vectors,
                compute=Compute(**{name: shared[name] for name in names}),
                options=asked_of,
                progress=display,
                before_embedding=cost,
            )
    return report, display


def build_options(task: Task) -> BuildOptions:
    """What is asked of the corpus and the store."""
    from embedsearch.ann import AnnKind
    from embedsearch.build import BuildOptions
    from embedsearch.corpus import Selection

    shared = task.shared
    return BuildOptions(
        selection=Selection(categories=shared["category"], since=shared["since"], until=shared["until"]),
        fields=parse_fields(shared["fields"]),
        dtype=shared["dtype_stored"],
        ann=AnnKind(task.ann) if task.ann else None,
        vector_fields=task.vector_fields,
        overwrite=task.overwrite,
        **{name: shared[name] for name in ("limit", "sample", "seed", "strict", "template", "transform")},
    )


def model_spec(task: Task) -> ModelSpec | None:
    """The model that is asked for, None where nothing is said of it; what is not said is as in the store."""
    from embedsearch.build import model_of_store
    from embedsearch.encoders import ModelSpec, Pooling

    asked = {
        "name": task.shared["model"],
        "pooling": Pooling(task.shared["pooling"]) if task.shared["pooling"] else None,
        "trust_remote_code": task.shared["trust_remote_code"] or None,
    }
    for name in ("revision", "query_prompt", "document_prompt", "max_tokens", "base_url"):
        asked[name] = task.shared[name]
    given = {name: value for name, value in asked.items() if value is not None}
    base = ModelSpec() if task.shared["model"] else model_of_store(task.index) or ModelSpec()
    spec = replace(base, **given) if given else None
    if spec is not None and base.base_url is not None and task.shared["base_url"] is None:
        # The key must not go to an address that only the index names.
        raise click.UsageError(
            f"{task.index} was made with the service at {base.base_url}: name it again, with --model and --base-url."
        )
    return spec
