"""Builds that are killed: what can be read of them, what a resumed one comes to, and where they can be hit.

A build runs in a process of its own, which this file is the script of. It is killed with SIGKILL either by the one who
started it, at some time, or by itself: a function of the build is wrapped from outside, and the n-th call of it is the
last thing that the process does.
"""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, Stage, Step, build_index
from embedsearch.corpus import sample_path, sample_queries
from embedsearch.encoders import Compute, Encoded, Encoder, open_encoder
from embedsearch.errors import StoreNotFound
from embedsearch.search import Mode, Searcher
from embedsearch.store.atomic import TEMPORARY_PREFIX, file_hash
from embedsearch.store.catalogue_views import TABLES
from embedsearch.store.generation import Generation
from embedsearch.store.lock import LOCK_NAME
from embedsearch.store.manifest import MANIFEST_NAME, Manifest, read_manifest
from embedsearch.verify import verify_store

ENCODER_PAUSE = 0.04
STAGE_PAUSE = 0.2
"""Seconds that a slow build waits."""

QUERIES = [sample.query for sample in sample_queries()][:20]
PATIENCE = 600.0

BEFORE, AFTER, HALF = "before", "after", "half"
HOOKS: dict[str, tuple[str, str, str, int | None]] = {
    "paper": ("embedsearch.store.catalogue_writer:CatalogueWriter", "add", BEFORE, None),
    "catalogue": ("embedsearch.store.catalogue_writer:CatalogueWriter", "finish", BEFORE, None),
    "document": ("embedsearch.keywords.writing", "designations", BEFORE, None),  # called once for each document
    "begin": ("embedsearch.store.writer:StoreWriter", "begin", BEFORE, None),
    "update": ("embedsearch.store.writer:StoreWriter", "update", BEFORE, None),
    "ann": ("embedsearch.ann.faiss_index", "build", BEFORE, None),
    "half written": ("pathlib:Path", "write_bytes", HALF, 0),
    "half written by faiss": ("faiss", "write_index", HALF, 1),
    "written": ("embedsearch.store.atomic", "sync", BEFORE, 0),
    "synced": ("os", "replace", BEFORE, 1),
    "renamed": ("os", "replace", AFTER, 1),
    "clean-up": ("embedsearch.store.writer", "remove", BEFORE, 0),
    "clean-up of a folder": ("os", "unlink", AFTER, None),
}
"""Step -> what is wrapped: owner, name, whether the call is still made, and which argument is the path it is about."""


@dataclass(frozen=True, slots=True)
class Build:
    """A call of build_index. `model` is `minilm` or the name of a fake encoder.

    With `slow`, a fake encoder and the begin of each stage take their time: what is over in an instant would hardly
    ever be hit at a random time.
    """

    corpus: str
    index: str
    shard_rows: int
    model: str = "fake"
    overwrite: bool = False
    slow: bool = False

    def options(self) -> BuildOptions:
        return BuildOptions(shard_rows=self.shard_rows, transform="center", overwrite=self.overwrite)


@dataclass(frozen=True, slots=True)
class Kill:
    """When a build dies: `after` so many seconds, or at the `nth` call of the function that `step` names in HOOKS.

    With `file`, only calls count that are about a file or folder whose name, temporary or not, starts so.
    """

    step: str = ""
    nth: int = 1
    file: str = ""
    after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended: killed or by itself, in which stage, how long it built, how many papers it embedded."""

    killed: bool
    stage: str
    seconds: float
    n_embedded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a complete store holds and answers, without what is named at random (tantivy's segments)."""

    vectors: list[tuple[int, int, str, str]]
    papers: list[tuple[Any, ...]]
    files: dict[str, str]
    hits: dict[str, list[list[tuple[str, float, float | None]]]] = field(repr=False)

    @classmethod
    def of(cls, build: Build) -> Snapshot:
        folder = Path(build.index)
        generation = read_manifest(folder).serving
        parts = {"transform": generation.transform_file, "ann": generation.ann.file if generation.ann else None}
        return cls(
            vectors=shards(folder, generation),
            papers=papers(folder, generation),
            files={name: file_hash(folder / entry.name) for name, entry in parts.items() if entry},
            hits=hits(Searcher.open(folder, encoder=encoder(build.model)), list(Mode)),
        )

    def differences(self, other: Snapshot) -> list[str]:
        """The names of the parts in which two snapshots differ."""
        return [name for name in self.__slots__ if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A build, the kills that it meets one after the other, and what has to come out.

    `before` is what the store has held until then, if it held something: it must be served until an `overwrite` is
    complete, which a killed one can be only where it `may_be_new`.
    """

    build: Build
    kills: tuple[Kill, ...]
    expected: Snapshot
    before: Snapshot | None = None
    may_be_new: bool = False


@dataclass(slots=True)
class Verdict:
    """What became of a case: the stages in which it was killed, and one line for each thing that was wrong."""

    stages: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def write_corpus(path: Path, n: int, *, backwards: bool = False) -> Path:
    """The bundled sample again and again under new ids, each copy some words shorter: no two texts are the same."""
    sample = [json.loads(line) for line in sample_path().read_text(encoding="utf-8").splitlines()]
    with path.open("w", encoding="utf-8") as file:
        for i in range(n)[:: -1 if backwards else 1]:
            copy, which = divmod(i, len(sample))
            words = sample[which]["abstract"].split()[3 * copy :]
            record = sample[which] | {"id": f"{2001 + i % 12:04d}.{10000 + i:05d}", "abstract": " ".join(words)}
            file.write(json.dumps(record) + "\n")
    return path


@cache
def encoder(model: str) -> Encoder:
    """The encoder of this name, without pauses."""
    if model == "minilm":
        return open_encoder(model, compute=Compute(device="cpu", dtype="float32"))
    return FakeEncoder(model)


def run(build: Build, kill: Kill | None = None) -> Ended:
    """Build in a new process, until it ends or `kill` happens. Raises RuntimeError if it fails by itself."""
    task = json.dumps({"build": asdict(build), "kill": asdict(kill) if kill and kill.after is None else None})
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, __file__, task],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has imported everything and begins
        start = time.monotonic()
        if kill is not None and kill.after is not None:
            time.sleep(kill.after)
            process.send_signal(signal.SIGKILL)
        said, errors = process.communicate(timeout=PATIENCE)
        seconds = time.monotonic() - start
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a build ended with {process.returncode}: {errors[-2000:]}")
    # Reading is first reported when some hundred papers have been read.
    *stages, last = ["starting", *said.splitlines()]
    if last.isdigit():  # it had ended; a kill after that hit nothing
        return Ended(killed=False, stage=stages[-1], seconds=seconds, n_embedded=int(last))
    return Ended(killed=True, stage=last, seconds=seconds)


def prove(case: Case) -> Verdict:
    """Kill, look, resume, compare. A kill that came too late to happen is no problem; it is missing in the stages."""
    verdict = Verdict()
    for kill in case.kills:
        ended = run(case.build, kill)
        if not ended.killed:
            break
        verdict.stages.append(ended.stage)
        when = f"{kill.step} {kill.file}".strip() or f"{kill.after:.3f} s"
        verdict.problems += [f"killed ({when}): {line}" for line in _caught(_killed(case))]
    verdict.problems += [f"resumed: {line}" for line in _caught(_resumed(case))]
    return verdict


def shards(folder: Path, generation: Generation) -> list[tuple[int, int, str, str]]:
    """(first row, number of rows, name, SHA-256 as it lies there) of each shard by row."""
    in_order = sorted(generation.shards, key=lambda shard: shard.first_row)
    return [(s.first_row, s.n_rows, s.file.name, file_hash(folder / s.file.name)) for s in in_order]


def papers(folder: Path, generation: Generation) -> list[tuple[Any, ...]]:
    """Every column of every table of the catalogue, by row."""
    path = (folder / generation.papers.name).resolve()
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        return [(table, *line) for table in TABLES for line in database.execute(f"SELECT * FROM {table} ORDER BY row")]
    finally:
        database.close()


def hits(searcher: Searcher, modes: Sequence[Mode]) -> dict[str, list[list[tuple[str, float, float | None]]]]:
    """(id, score, cosine) of the best ten for each of QUERIES in each mode."""
    return {
        mode.value: [
            [(hit.id, hit.score, hit.cosine) for hit in result.hits] for result in searcher.search(QUERIES, mode=mode)
        ]
        for mode in modes
    }


def _caught(findings: Iterator[str]) -> list[str]:
    """What a check finds; what it raises is a finding too: one broken store must not hide the others."""
    found = []
    try:
        for line in findings:
            found.append(line)
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
    return found


def _killed(case: Case) -> Iterator[str]:
    """What is wrong with a store whose builder was killed."""
    folder = Path(case.build.index)
    there = (folder / MANIFEST_NAME).exists()
    try:
        manifest = read_manifest(folder)
        model = _model(case, manifest)
        searcher = Searcher.open(folder, encoder=encoder(model))
    except StoreNotFound:
        if there or case.before is not None:
            yield "expected the store that was committed, found StoreNotFound"
        return
    yield from verify_store(folder)
    is_old = case.before is not None and manifest.serving.number == 1
    if case.before is not None and not is_old and not case.may_be_new:
        yield f"expected the old generation to be served, found {manifest.serving.number}"
    if not manifest.serving.complete:
        yield from _partial(case, searcher)
        return
    right = case.before if case.before is not None and is_old else case.expected
    differences = Snapshot.of(replace(case.build, model=model)).differences(right)
    yield from (f"{name} differ in what is served" for name in differences)


def _partial(case: Case, searcher: Searcher) -> Iterator[str]:
    """What is wrong with the answers of a store that is not complete."""
    folder, generation = Path(case.build.index), searcher.generation
    found = shards(folder, generation)
    if found != [shard for shard in case.expected.vectors if shard in found]:
        yield "shards differ from those of the undisturbed build"
    if papers(folder, generation) != case.expected.papers:
        yield "papers differ from those of the undisturbed build"
    if hits(searcher, [Mode.KEYWORD])["keyword"] != case.expected.hits["keyword"]:
        yield "keyword hits differ from those of the undisturbed build"
    # Without a vector there is nothing to answer a query by meaning with.
    answers = hits(searcher, [Mode.HYBRID, Mode.DENSE] if generation.n_embedded else [Mode.HYBRID])
    n_expected = min(10, generation.n_embedded)
    if any(len(answer) != n_expected for answer in answers.get("dense", ())):
        yield f"expected {n_expected} hits for each query by meaning"


def _resumed(case: Case) -> Iterator[str]:
    """Resume a build until it ends; what is wrong then."""
    folder, missing = Path(case.build.index), _missing(case)
    n_embedded = run(case.build).n_embedded
    if n_embedded != missing:
        yield f"expected {missing} papers to embed, found that {n_embedded} were"
    yield from (f"{name} differ" for name in Snapshot.of(case.build).differences(case.expected))
    yield from verify_store(folder)
    manifest = (folder / MANIFEST_NAME).read_bytes()
    again = replace(case.build, overwrite=False)
    report = build_index(again.corpus, folder, encoder=encoder(again.model), options=again.options())
    if not report.already_complete or (folder / MANIFEST_NAME).read_bytes() != manifest:
        yield "expected a complete store, found that one more build had something to do"
    yield from (f"{name} was left behind" for name in leftovers(folder))
    if shards(folder, read_manifest(folder).serving) != case.expected.vectors:
        yield "vectors differ after one more build"


def leftovers(folder: Path) -> list[str]:
    """Files that no generation names. The lock stays, and tantivy's readers leave theirs beside the segments."""
    named = {entry.name for generation in read_manifest(folder).generations() for entry in generation.files()}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    of_readers = {name for name in found if Path(name).name.startswith(".tantivy-")}
    return sorted(found - named - of_readers - {MANIFEST_NAME, LOCK_NAME})


def _missing(case: Case) -> int:
    """How many papers the next build has to embed: those that no commit holds."""
    n_papers = sum(n for _, n, _, _ in case.expected.vectors)
    try:
        manifest = read_manifest(Path(case.build.index))
    except StoreNotFound:
        return n_papers
    if manifest.pending is not None:
        return n_papers - manifest.pending.n_embedded
    return n_papers if case.build.overwrite else 0


def _model(case: Case, manifest: Manifest) -> str:
    """The name of the encoder that made what is served."""
    known = [case.build.model, "fake"]
    recipe = manifest.serving.recipe
    return next(name for name in known if encoder(name).recipe.as_dict() == recipe)


class SlowEncoder(FakeEncoder):
    """A fake encoder that takes its time."""

    def encode_prepared(self, *args: Any, **kwargs: Any) -> Encoded:
        time.sleep(ENCODER_PAUSE)
        return super().encode_prepared(*args, **kwargs)


def _arm(kill: Kill, index: Path) -> None:
    """Wrap the function that `kill` names, so that the process dies by the n-th call of it."""
    owner_name, name, when, argument = HOOKS[kill.step]
    owner = pkgutil.resolve_name(owner_name)
    original = getattr(owner, name)
    n = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal n
        n += _counts(kill, index, args[argument] if argument is not None else None, kwargs)
        if n < kill.nth:
            return original(*args, **kwargs)
        if when != BEFORE:
            original(*args, **kwargs)
        if when == HALF and argument is not None:
            os.truncate(args[argument], os.stat(args[argument]).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(owner, name, wrapped)


def _counts(kill: Kill, index: Path, path: str | Path | None, kwargs: dict[str, Any]) -> bool:
    """Whether a call is one of those that are counted."""
    if kill.step == "clean-up of a folder":
        return "dir_fd" in kwargs  # so are a folder's files removed, and nothing else
    if path is None:
        return True
    if not Path(path).is_relative_to(index):
        return False
    parts = Path(path).relative_to(index).parts
    if kill.step == "written" and not any(part.startswith(TEMPORARY_PREFIX) for part in parts):
        return False  # a folder that is synced after the rename
    return any(part.removeprefix(TEMPORARY_PREFIX).startswith(kill.file) for part in parts)


class _Reporter:
    """Says in which stage a build is, and waits for `pause` seconds when that changes."""

    def __init__(self, pause: float) -> None:
        self.n_embedded = 0
        self._pause = pause
        self._stage: Stage | None = None

    def __call__(self, step: Step) -> None:
        if step.stage is Stage.EMBED:
            self.n_embedded = step.n_papers  # of this process alone, whether a commit has them already or not
        if step.stage is not self._stage:
            self._stage = step.stage
            print(step.stage.value, flush=True)
            time.sleep(self._pause)


def _child(task: dict[str, Any]) -> None:
    build = Build(**task["build"])
    made_by = SlowEncoder(build.model) if build.slow and build.model != "minilm" else encoder(build.model)
    reporter = _Reporter(STAGE_PAUSE if build.slow else 0.0)
    if task["kill"]:
        _arm(Kill(**task["kill"]), Path(build.index))
    print("starting", flush=True)
    build_index(build.corpus, build.index, encoder=made_by, options=build.options(), progress=reporter)
    print(reporter.n_embedded, flush=True)


if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
