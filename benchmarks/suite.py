"""What a measurement is: cases that run in turn, round by round, and the figures that come of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Work = Callable[[], float]
"""Does the work once and returns its figure: seconds, or texts a second, as the case's unit says."""


@dataclass(frozen=True)
class Floor:
    """The best that the machine could do, in the unit of the case, and how it was reckoned."""

    value: float
    what: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """One setting. `prepare` loads and warms it up, outside of what is measured, and may fail: then a row says so.

    `peers` names the cases of the same stage that this one is compared with: the ratio is to the best of those that
    were measured. `more` tells whether more is better.
    """

    name: str
    unit: str
    prepare: Callable[[], Work]
    ours: bool = True
    more: bool = False
    peers: tuple[str, ...] = ()
    floor: Floor | None = None


@dataclass(frozen=True)
class Setup:
    """What is measured, and how long. `store` is made where none was given; `work` is a folder for scratch."""

    papers: Path
    is_real: bool
    quick: bool
    rounds: int
    work: Path
    index: Path | None = None
    peers: bool = False
    scale: bool = False

    @property
    def has_slow_peers(self) -> bool:
        """Whether peers take part that are processes of their own."""
        return self.peers or not self.quick


def _print(line: str) -> None:
    print(line, flush=True)  # at once, to a file too


@dataclass
class Stage:
    """What was measured in one stage. It can be read at any time: an interrupted one holds the rounds it has.

    `say` is told how far it is; `save` is called after each round, so that even a kill leaves the rounds before it.
    """

    name: str
    say: Callable[[str], None] = _print
    save: Callable[[Stage], object] = lambda stage: None
    cases: list[Case] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    profile: dict[str, Any] = field(default_factory=dict)

    def run(self, cases: Sequence[Case], *, rounds: int) -> None:
        """Prepare all, then measure each in turn, round by round; one that fails is left out from there on.

        What was prepared and has a `close` is closed at the end.
        """
        with ExitStack() as stack:
            works = self._prepared(cases, stack)
            for number in range(rounds):
                for case in cases:
                    if case.name not in self.failed:
                        self._attempt(case, lambda case=case: self._add(case, works[case.name]()))  # type: ignore[misc]
                    if case.name not in self.failed:
                        value = self.values[case.name][-1]
                        self.say(f"{self.name}, round {number + 1} of {rounds}: {case.name}: {value:.4g} {case.unit}")
                self.save(self)

    def _prepared(self, cases: Sequence[Case], stack: ExitStack) -> dict[str, Work]:
        works: dict[str, Work] = {}
        for case in cases:
            self.cases.append(case)
            self.say(f"{self.name}, preparing: {case.name}")
            self._attempt(case, lambda case=case: works.update({case.name: case.prepare()}))  # type: ignore[misc]
            if (close := getattr(works.get(case.name), "close", None)) is not None:
                stack.callback(close)
        return works

    def _add(self, case: Case, value: float) -> None:
        self.values.setdefault(case.name, []).append(value)

    def _attempt(self, case: Case, do: Callable[[], object]) -> None:
        try:
            do()
        except (Exception, SystemExit) as error:  # whatever a peer does, the others are measured
            self.failed[case.name] = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
            self.say(f"{self.name}, failed: {case.name}: {self.failed[case.name]}")

    def figures(self) -> list[dict[str, Any]]:
        """A row for each case, as JSON can hold it."""
        return [self._figure(case) for case in self.cases]

    def _figure(self, case: Case) -> dict[str, Any]:
        row: dict[str, Any] = {"name": case.name, "ours": case.ours, "unit": case.unit, "more_is_better": case.more}
        if case.name in self.failed or not self.values.get(case.name):
            return row | {"failed": self.failed.get(case.name, "interrupted before its first round")}
        values = self.values[case.name]
        row |= {"median": statistics.median(values), "rounds": values}
        if (peer := self._best(case.peers, more=case.more)) is not None:
            pairs = zip(values, self.values[peer], strict=False)  # rounds that both have
            row |= {"peer": peer, "ratio": statistics.median(times_as_good(a, b, more=case.more) for a, b in pairs)}
        if case.floor is not None:
            share = times_as_good(row["median"], case.floor.value, more=case.more)
            row |= {"floor": case.floor.value, "floor_is": case.floor.what, "share_of_floor": share}
        return row

    def _best(self, names: Sequence[str], *, more: bool) -> str | None:
        """The one with the best median of those that were measured."""
        medians = {name: statistics.median(self.values[name]) for name in names if name not in self.failed
                   and self.values.get(name)}  # fmt: skip
        return (max if more else min)(medians, key=lambda name: medians[name], default=None)


def times_as_good(value: float, other: float, *, more: bool) -> float:
    """How many times as good `value` is: above 1 it is better, whether it is a rate (`more`) or a time."""
    return value / other if more else other / value
