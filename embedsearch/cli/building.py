"""Running a build for a command: from the options that build-index and embed share to a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.cost import Cost
from embedsearch.cli.options import COMPUTE, is_quiet, parse_fields

if TYPE_CHECKING:
    from embedsearch.build import BuildOptions, BuildReport, Engine
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.encoders import Compute, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A store to be made: `shared` are the values of `corpus_options`, `model_options`, `compute_options`,
    `engine_options` and `service_options` by name; `collect` takes shards that were handed in, and makes none."""

    corpus: str | None
    index: Path
    shared: Mapping[str, Any]
    ann: str | None = None
    memory: int | None = None
    recall: float | None = None
    ann_device: str = "cpu"
    overwrite: bool = False
    vectors: str | None = None
    vector_fields: Mapping[str, str] = field(default_factory=dict)
    collect: bool = False


def run(task: Task) -> tuple[BuildReport, BuildDisplay]:
    """Build, with progress on stderr; the display can say more of the report."""
    from embedsearch.build import build_index
    from embedsearch.cli.progress import BuildDisplay

    shared, options, spec, engine = task.shared, build_options(task), model_spec(task), engine_of(task)
    if task.corpus is None and not (task.index / "manifest.json").exists():
        click.echo("No corpus was named: taking the bundled sample, 120 invented papers.", err=True)
    with BuildDisplay(quiet=is_quiet()) as display:
        cost = Cost(yes=shared["yes"], dry_run=shared["dry_run"], quiet=is_quiet(), paused=display.paused)
        with cost.target(task.corpus, task.index, options) as (papers, folder, asked_of):
            report = build_index(
                papers,
                folder,
                model=spec,
                vectors=task.vectors,
                compute=_compute(task),
                options=asked_of,
                progress=display,
                before_embedding=cost,
                engine=engine,
            )
    return report, display


def run_share(task: Task, text: str) -> None:
    """Compute a share of the shards, `3/16`, for another command to collect."""
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.render.tables import counted
    from embedsearch.share import Share, build_share

    share = Share.parse(text)
    with BuildDisplay(quiet=is_quiet()) as display:
        report = build_share(
            task.corpus,
            task.index,
            share=share,
            model=model_spec(task),
            compute=_compute(task),
            options=build_options(task),
            progress=display,
            drop=task.shared["drop"],
        )
    if not is_quiet():
        there = report.n_shards - report.n_computed
        were = f", {there:,} there already" if there else ""
        click.echo(f"{task.index}: share {text}: {counted(report.n_computed, 'shard')} handed in{were}.", err=True)


def engine_of(task: Task, *, is_share: bool = False) -> Engine:
    """Where the shards are computed. A usage error for options that do not go together."""
    from embedsearch.build import collect, embed_here

    shared = task.shared
    of_ray = {name: shared[name] for name in ("address", "num_actors", "gpus_per_actor", "cpus_per_actor")}
    is_ray = shared["engine_name"] == "ray"
    named = [f"--{name.replace('_', '-')}" for name, value in of_ray.items() if value is not None]
    if named and not is_ray:
        raise click.UsageError(f"Expected --engine ray beside {named[0]}.")
    if shared["drop"] and not (is_share or is_ray or task.collect):
        raise click.UsageError("Expected --shards, --collect or --engine ray beside --drop.")
    elsewhere = [is_ray, bool(shared["devices"]), task.collect, task.vectors is not None]
    if sum(elsewhere) > 1:
        raise click.UsageError("Expected one of --devices, --engine ray, --collect and --vectors, found more.")
    if (is_ray or shared["devices"]) and is_of_service(task):
        raise click.UsageError("Expected a model that runs here: a service is asked from one place, see --concurrency.")
    if shared["devices"]:
        from embedsearch.stages.local_engine import Devices

        return Devices(devices=[name.strip() for name in shared["devices"].split(",")], compute=_compute(task))
    if is_ray:
        from embedsearch.stages.ray_engine import RayCluster

        given = {name: value for name, value in of_ray.items() if value is not None}
        return RayCluster(**given, drop=shared["drop"], compute=_compute(task))
    return partial(collect, drop=shared["drop"]) if task.collect else embed_here


def is_of_service(task: Task) -> bool:
    """Whether the model is a service's."""
    from embedsearch.build import model_of_store
    from embedsearch.encoders.services import is_service

    spec = model_spec(task) or model_of_store(task.index)
    return spec is not None and is_service(spec)


def _compute(task: Task) -> Compute:
    from embedsearch.encoders import Compute

    return Compute(**{name: task.shared[name] for name in COMPUTE})


def build_options(task: Task) -> BuildOptions:
    """What is asked of the corpus and the store."""
    from embedsearch.ann import AUTO, AnnKind
    from embedsearch.build import BuildOptions
    from embedsearch.corpus import Selection

    shared = task.shared
    return BuildOptions(
        selection=Selection(categories=shared["category"], since=shared["since"], until=shared["until"]),
        fields=parse_fields(shared["fields"]),
        dtype=shared["dtype_stored"],
        ann=AUTO if task.ann == AUTO else AnnKind(task.ann) if task.ann else None,
        memory=task.memory,
        recall=task.recall,
        ann_device=task.ann_device,
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
