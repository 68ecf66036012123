"""What a training did: the figures before and after, the losses on the way, and how it was made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from embedsearch.errors import StoreError
from embedsearch.measures import Interval
from embedsearch.store.atomic import write_bytes

REPORT_NAME = "training.json"


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of the model before and after its training.

    `difference` is after - before with its 95 % interval, paired over papers or queries; None where there are too few.
    """

    name: str
    before: float
    after: float
    difference: Interval | None = None


@dataclass(frozen=True, slots=True)
class LossPoint:
    """Losses after so many optimiser steps; `epoch` in passes over the corpus. What was not computed there is None."""

    step: int
    epoch: float
    train: float | None = None
    validation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """A finished training.

    `n_tokens` are those that were trained on, all epochs together; `seconds` are of the training alone, over all runs
    that it took. `options` are what a user set or got by default, `identity` what a training that goes on must share.
    `already_complete`: the folder was there, and nothing was done now.
    """

    objective: str
    base: str
    out: str
    n_train: int
    n_validation: int
    n_tokens: int
    seconds: float
    options: Mapping[str, Any] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    losses: tuple[LossPoint, ...] = ()
    notes: tuple[str, ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    already_complete: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it: NaN and infinity are None. Folders are named, and it is not said where they lie."""
        data = asdict(self)
        del data["already_complete"]
        options = {name: model_name(v) if name in ("model", "base") and v else v for name, v in self.options.items()}
        named = {"out": Path(self.out).name, "base": model_name(self.base), "options": options}
        plain: dict[str, Any] = _plain(data | named)
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, out: Path, already_complete: bool = False) -> TrainingReport:
        """The report that `as_dict` gave; keys that it does not know are ignored."""
        measures = [
            Measure(
                m["name"],
                _number(m["before"]),
                _number(m["after"]),
                Interval(**m["difference"]) if m["difference"] else None,
            )
            for m in data["measures"]
        ]
        plain = ("objective", "base", "n_train", "n_validation", "n_tokens", "seconds", "options", "identity")
        return cls(
            **{name: data[name] for name in plain},
            out=str(out),
            measures=tuple(measures),
            losses=tuple(LossPoint(**point) for point in data["losses"]),
            notes=tuple(data["notes"]),
            already_complete=already_complete,
        )


def loss_points(history: Sequence[Mapping[str, Any]]) -> tuple[LossPoint, ...]:
    """The losses in a trainer's log: of each optimiser step, and of the validation where there was one."""
    points: dict[int, dict[str, float]] = {}
    for entry in history:
        for key, name in (("loss", "train"), ("eval_loss", "validation")):
            if key in entry:
                point = points.setdefault(int(entry["step"]), {"epoch": float(entry.get("epoch", 0.0))})
                point[name] = float(entry[key])
    return tuple(LossPoint(step=step, **points[step]) for step in sorted(points))


def with_last(points: Sequence[LossPoint], validation: float) -> tuple[LossPoint, ...]:
    """The losses with that of the validation after the last step."""
    return (*points[:-1], replace(points[-1], validation=validation)) if points else ()


def write_report(folder: Path, report: TrainingReport) -> None:
    """Write the report as `folder`/training.json."""
    text = json.dumps(report.as_dict(), ensure_ascii=False, allow_nan=False, indent=1)
    write_bytes(folder / REPORT_NAME, (text + "\n").encode())


def read_report(folder: Path, *, already_complete: bool = False) -> TrainingReport | None:
    """The report of the training that made `folder`, None where it has none. StoreError if it cannot be read."""
    path = folder / REPORT_NAME
    try:
        data = json.loads(path.read_bytes())
        return TrainingReport.from_dict(data, out=folder, already_complete=already_complete)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"expected the report of a training in {path}, found: {error}") from error


def model_name(name: str) -> str:
    """A model's name, or of a path outside of this folder its last part: cards and reports are for others to read."""
    is_elsewhere = name.startswith((".", "~")) or Path(name).is_absolute()
    return Path(name).name if is_elsewhere else name


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
