"""Finding what language models are to go on from, and letting each of them write, with progress on stderr."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedsearch.cli.options import is_quiet
from embedsearch.cli.terminal import Display

if TYPE_CHECKING:
    from embedsearch.encoders import Compute
    from embedsearch.errors import EmbedsearchError
    from embedsearch.language.chat import ChatModel
    from embedsearch.language.completion import CompletionOptions, Prompt
    from embedsearch.language.completion_study import Written
    from embedsearch.records import Paper


def find_prompts(
    texts: Sequence[str],
    file: str | None,
    ids: Sequence[str],
    *,
    n_sentences: int,
    source: str | None,
    index: Path,
) -> list[Prompt]:
    """The prompts of papers, then those that were given as texts, then those of the file.

    `source` is a file of papers or an index, None: `index`, which is opened only where there are `ids`.
    Raises OptionError for an empty prompt, PaperNotFound, CorpusError, and what opening an index raises.
    """
    from embedsearch.errors import OptionError
    from embedsearch.language.completion import Prompt, paper_prompt

    if source is not None and not (Path(source) / "manifest.json").exists():
        papers = _from_corpus(source, ids)
    else:
        papers = _from_index(Path(source) if source is not None else index, ids)
    prompts = [paper_prompt(paper, n_sentences=n_sentences) for paper in papers]
    if any(not text.strip() for text in texts):
        raise OptionError("expected a text in --prompt, found none: give the beginning of an abstract")
    return prompts + [Prompt(text=text.strip()) for text in [*texts, *_lines(file)]]


def _lines(file: str | None) -> list[str]:
    from embedsearch.errors import CorpusError

    if file is None:
        return []
    try:
        text = (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"expected a file of texts in UTF-8, one a line, at {file}, found: {reason}") from error
    found = [line for line in map(str.strip, text.splitlines()) if line]
    if not found:
        raise CorpusError(f"expected texts, one a line, in {file}, found none")
    return found


def _from_corpus(source: str, ids: Sequence[str]) -> list[Paper]:
    """The papers with these ids; of a repeated id the later record, as in an index."""
    from embedsearch.corpus import normal_id, open_corpus
    from embedsearch.errors import PaperNotFound

    wanted = {normal_id(id).id: id for id in ids}
    found = {paper.id: paper for paper in open_corpus(source) if paper.id in wanted}
    for id, given in wanted.items():
        if id not in found:
            raise PaperNotFound(f"expected a paper {given!r} in {source}, found none: check the id")
    return [found[id] for id in wanted]


def _from_index(index: Path, ids: Sequence[str]) -> list[Paper]:
    if not ids:
        return []
    import numpy as np

    from embedsearch.corpus import normal_id
    from embedsearch.errors import PaperNotFound
    from embedsearch.store.catalogue import Catalogue
    from embedsearch.store.manifest import read_manifest

    catalogue = Catalogue(index / read_manifest(index).serving.papers.name)
    rows = []
    for id in dict.fromkeys(normal_id(id).id for id in ids):
        row = catalogue.row_of(id)
        if row is None:
            raise PaperNotFound(f"expected a paper {id!r} in {index}, found none: check the id, or name a CORPUS")
        rows.append(row)
    return [stored.paper for stored in catalogue.papers(np.array(rows))]


def labels(models: Sequence[str]) -> dict[str, str]:
    """What each model is called where people read: a path by its last part, unless another has the same."""
    names = list(dict.fromkeys(models))
    short = [Path(name).name or name if Path(name).exists() else name for name in names]
    return {label if short.count(label) == 1 else name: name for name, label in zip(names, short, strict=True)}


def write_all(
    models: Mapping[str, str],
    prompts: Sequence[Prompt],
    options: CompletionOptions,
    *,
    revision: str | None,
    base: str | None,
    base_url: str | None,
    compute: Compute,
) -> tuple[list[Written], EmbedsearchError | None]:
    """What each model writes, by its label; only one is in memory at a time.

    All are looked up before the first begins. An error of the first model is raised. That of a later one ends the work
    and is returned beside what the others wrote, which may have taken hours.
    """
    from embedsearch.encoders.services import PREFIX
    from embedsearch.errors import EmbedsearchError
    from embedsearch.language.chat import ChatModel

    # A missing key, or client, is found before the others begin.
    services = {label: ChatModel(name, base_url=base_url) for label, name in models.items() if name.startswith(PREFIX)}
    if len(models) > 1:
        from embedsearch.language.language_model import check_language_model

        for label, name in models.items():
            if label not in services:
                check_language_model(name, revision=revision, base=base)
    written: list[Written] = []
    for label, name in models.items():
        try:
            with WritingDisplay(label) as display:
                written.append(
                    _of_service(services[label], label, prompts, options, display)
                    if label in services
                    else _of_files(
                        name, label, prompts, options, display, revision=revision, base=base, compute=compute
                    )
                )
        except EmbedsearchError as error:
            if not written:
                raise
            return written, error
        gc.collect()  # a model is a web of cycles, and the next one wants its room
    return written, None


def _of_service(
    model: ChatModel, label: str, prompts: Sequence[Prompt], options: CompletionOptions, display: WritingDisplay
) -> Written:
    from embedsearch.language.completion_study import Written

    if not is_quiet():
        click.echo(f"Sending {len(prompts):,} prompts to {model.address.host}.", err=True)
    began = time.perf_counter()
    found = model.complete(prompts, options, progress=display)
    seconds = time.perf_counter() - began
    return Written(model=label, completions=tuple(found), seconds=seconds, note="asked by an instruction")


def _of_files(
    name: str,
    label: str,
    prompts: Sequence[Prompt],
    options: CompletionOptions,
    display: WritingDisplay,
    *,
    revision: str | None,
    base: str | None,
    compute: Compute,
) -> Written:
    from embedsearch.language.completion_study import Written
    from embedsearch.language.generation import complete
    from embedsearch.language.language_model import open_language_model

    model = open_language_model(name, revision=revision, base=base, compute=compute)
    began = time.perf_counter()
    found = complete(model, prompts, options, progress=display)
    seconds = time.perf_counter() - began
    dtype = str(model.dtype).removeprefix("torch.")
    note = ", ".join(filter(None, [dtype, model.note]))
    return Written(model=label, completions=tuple(found), seconds=seconds, note=note)


class WritingDisplay(Display):
    """How far a model is, on stderr: a bar on a terminal, a plain line now and then elsewhere. The callback itself."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self._began = time.monotonic()

    def __call__(self, done: int, total: int, n_tokens: int) -> None:
        """Show how far it is."""
        if self._quiet:
            return
        now = time.monotonic()
        if self._task is None:  # the first step: what lies before it was loading
            self._began = self._last_line = now
            self._task = self._bar.add_task(self._what, total=total, rate="")
            self._n_before = n_tokens
        seconds = now - self._began
        pace = f", {(n_tokens - self._n_before) / seconds:,.0f} tokens/s" if seconds > 0.5 else ""
        rate = f"{done:,} of {total:,} texts, {n_tokens:,} tokens{pace}"
        self._bar.update(self._task, completed=done, total=total, rate=rate)
        self._plain_line(f"{self._what}: {rate}")
