"""What `today` asks of the library, and how its list is written."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from embedsearch.cli.fetch_progress import FetchDisplay
from embedsearch.cli.options import COMPUTE, is_quiet
from embedsearch.cli.progress import BuildDisplay
from embedsearch.cli.terminal import Display, make_console, show
from embedsearch.errors import EmbedsearchError
from embedsearch.fetch import ARXIV
from embedsearch.render.day import day_dict, day_text, not_found, to_markdown
from embedsearch.render.results import to_json
from embedsearch.render.tables import counted, printable
from embedsearch.store.atomic import check_writable, disk_errors, write_bytes
from embedsearch.store.manifest import now
from embedsearch.today import DayList
from embedsearch.today.morning import Source, Watch, morning

if TYPE_CHECKING:
    from embedsearch.build import Step
    from embedsearch.fetch import FetchProgress

D = TypeVar("D", bound=Display)

log = logging.getLogger("embedsearch")


def list_today(
    like: Sequence[str], source: Source | Path | None, *, index: Path, out: Path | None, yes: bool, **options: Any
) -> DayList:
    """Run the morning, with progress on a terminal."""
    from embedsearch.cli.add import service_of
    from embedsearch.cli.cost import Cost
    from embedsearch.encoders import Compute

    if out is not None:
        check_writable(out)
    compute = Compute(**{name: options.pop(name) for name in COMPUTE})
    base_url = options.pop("base_url")
    encoder = service_of(index, base_url, compute) if source is not None else None
    is_silent = is_quiet() or not _is_watched()
    with _Bars(source, index, quiet=is_silent) as bars:
        cost = Cost(yes=yes, dry_run=False, quiet=is_silent, paused=bars.paused)
        watch = Watch(fetched=bars.fetched, added=bars.added, before_embedding=cost)
        day = morning(index, like, source=source, encoder=encoder, compute=compute, watch=watch, **options)
    if not day.papers and not is_silent:
        click.echo(_nothing(day, source), err=True)
    return day


@contextmanager
def logged(path: Path | None) -> Iterator[Callable[[DayList], None]]:
    """Give what is to be told of the list that was made. Then, or of an error, a line is added to `path`."""
    if path is None:
        yield lambda day: None
        return
    check_writable(path)
    said: list[str] = []
    try:
        yield lambda day: said.append(
            f"{counted(day.n_new, 'new paper')} from {day.since} to {day.until}, {len(day.papers):,} listed"
        )
    except EmbedsearchError as error:
        said.append(f"Error: {printable(' '.join(str(error).split()))}")
        raise
    finally:
        with disk_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{now()} {said[-1] if said else 'stopped'}\n")


class _Bars:
    """One display after another: what is fetched, then what is added. As a context."""

    def __init__(self, source: Source | Path | None, index: Path, *, quiet: bool) -> None:
        self._source = source
        self._index = index
        self._quiet = quiet
        self._stack = ExitStack()
        self._shown: FetchDisplay | BuildDisplay | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def fetched(self, at: FetchProgress) -> None:
        """How far a fetch is."""
        if self._quiet or not isinstance(self._source, Source):
            return
        if not isinstance(self._shown, FetchDisplay):
            url = self._source.base_url or ARXIV
            self._shown = self._next(FetchDisplay(self._source.sets, self._index, url))
        self._shown(at)

    def added(self, step: Step) -> None:
        """How far an addition is."""
        if not isinstance(self._shown, BuildDisplay):
            self._shown = self._next(BuildDisplay(quiet=self._quiet))
        self._shown(step)

    def paused(self) -> AbstractContextManager[None]:
        """While something else is written or asked."""
        return self._shown.paused() if isinstance(self._shown, BuildDisplay) else nullcontext()

    def _next(self, display: D) -> D:
        self._stack.close()
        self._stack.enter_context(display)
        return display


def _is_watched() -> bool:
    """Whether somebody reads what happens: cron would send each line as a mail."""
    return sys.stderr.isatty() or log.isEnabledFor(logging.INFO)


def _nothing(day: DayList, source: Source | Path | None) -> str:
    if day.n_new:
        return f"None of the {counted(day.n_new, 'new paper')} since {day.since} is near enough."
    known = ": what the file has came before; list it with --since DAY" if isinstance(source, Path) else ""
    return f"Nothing new since {day.since}{known}."


def write_list(day: DayList, index: Path, format_: str, out: Path | None) -> None:
    """To a file, or to stdout."""
    if out is None and format_ == "table":
        console = make_console()
        show(day_text(day, links=console.is_terminal), console=console)
        return
    text = _text(day, index, format_)
    if out is None:
        click.echo(text, nl=False)
        return
    write_bytes(out, text.encode())
    if not is_quiet() and _is_watched():
        click.echo(f"{out}: {counted(len(day.papers), 'paper')}.", err=True)


def _text(day: DayList, index: Path, format_: str) -> str:
    if format_ == "json":
        return to_json(day_dict(day)) + "\n"
    if format_ == "markdown":
        return to_markdown(day)
    if format_ == "html":
        from embedsearch.render.day_page import to_html

        return to_html(day)
    if format_ == "bibtex":
        return _bibtex(day, index)
    console = make_console()
    console.width = 80
    with console.capture() as captured:
        console.print(day_text(day, links=False))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _bibtex(day: DayList, index: Path) -> str:
    """As the corpus has the papers; what is missing is said beside it."""
    from embedsearch.pairs.divergent.known_papers import KnownPapers
    from embedsearch.render.bibtex import to_bibtex

    if day.missing and not is_quiet():
        click.echo(not_found(day), err=True)
    stored = KnownPapers(index).papers([paper.id for paper in day.papers])
    return to_bibtex(stored[paper.id].paper for paper in day.papers if paper.id in stored)
