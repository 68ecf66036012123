"""What was done to a store, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embedsearch.render.tables import Column, Table
from embedsearch.store.manifest import Event

COLUMNS = (
    Column("generation"),
    Column("at", "when (UTC)"),
    Column("what"),
    Column("n_papers", "papers"),
    Column("n_new", "new"),
    Column("n_changed", "changed"),
    Column("n_renewed", "renewed"),
    Column("n_removed", "removed"),
    Column("source", "from"),
    Column("by"),
)
"""`changed` papers were embedded again, of `renewed` ones other fields are new."""


def history_table(events: Sequence[Event], *, brief: bool = False) -> Table:
    """A row for each event, in their order; `brief` for people, who read a time without its zone."""
    return Table(COLUMNS, tuple(_row(event, brief=brief) for event in events))


def _row(event: Event, *, brief: bool) -> tuple[Any, ...]:
    return (
        event.number,
        event.at[:19].replace("T", " ") if brief else event.at,
        event.what,
        event.n_papers,
        event.n_new,
        event.n_changed,
        event.n_renewed,
        event.n_removed,
        event.source,
        event.by,
    )
