"""The measures of completions as tables: beside each text, over all prompts, and one completion a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embedsearch.language.completion_measures import TextMeasures
from embedsearch.language.completion_study import CompletionStudy, Measured
from embedsearch.render.tables import Column, Table, shown

TRUTH = "the abstract"

MEASURES = (
    "words", "tokens", "ended", "numbers known", "names known", "repetition", "distinct-2", "cosine to rest",
    "cosine of whole",
)  # fmt: skip
"""The columns of the tables, as people read them."""


def about_line(study: CompletionStudy) -> str:
    """How the texts were made."""
    options = study.options
    said = [
        f"Temperature {options.temperature:g}",
        f"at most {options.max_new_tokens:,} new tokens",
        f"seed {options.seed}",
        "the models' chat templates" if options.use_chat else "the bare text is continued, no chat template",
    ]
    notes = [f"{model.model}: {model.note}" for model in study.models if model.note]
    return "; ".join([", ".join(said), *notes]) + "."


def measures_line(study: CompletionStudy) -> str:
    """What the measures are."""
    by = f" Cosines are by {study.encoder}" if study.encoder else ""
    cut = f" ({study.n_cut:,} texts were too long for it, and cut)" if study.n_cut else ""
    alone = [case.cosine_prompt for case in study.cases if case.cosine_prompt is not None]
    prompt = f"; the prompt alone has {shown(sum(alone) / len(alone))} to the rest" if alone else ""
    return (
        "Repetition: share of four words in a row that were there before. Known: numbers and names of objects that the"
        f" prompt or the true abstract has, of all different ones.{by}{cut}{prompt}{'.' if by else ''}"
    )


def measures_table(study: CompletionStudy) -> Table:
    """A row for each prompt and model, the true rest before them; with several prompts also one over all of them."""
    rows: list[tuple[Any, ...]] = []
    for number, case in enumerate(study.cases, 1):
        name = case.prompt.id or f"prompt {number}"
        if case.truth is not None:
            rows.append((name, TRUTH, *_cells([case.truth], is_truth=True)))
        for model, measured in zip(study.models, case.by_model, strict=True):
            rows.append((name, model.model, *_cells([measured])))
    if len(study.cases) > 1:
        rows += [("all", name, *cells) for name, cells in _over_all(study)]
    columns = (Column("prompt"), Column("model"), *(Column(name) for name in MEASURES))
    return Table(columns, tuple(rows))


def summary_table(study: CompletionStudy) -> Table:
    """A row for each measure, a column for the true rest and each model: means over the prompts."""
    sides = _over_all(study)
    columns = (Column("measure"), *(Column(name) for name, _ in sides))
    rows = tuple((name, *(cells[i] for _, cells in sides)) for i, name in enumerate(MEASURES))
    n = len(study.cases)
    over = f"Means over {n:,} prompts. " if n > 1 else ""
    return Table(columns, rows, f"{over}{about_line(study)} {measures_line(study)}")


def _over_all(study: CompletionStudy) -> list[tuple[str, tuple[Any, ...]]]:
    truths = [case.truth for case in study.cases if case.truth is not None]
    sides = [(TRUTH, _cells(truths, is_truth=True))] if truths else []
    for i, model in enumerate(study.models):
        sides.append((model.model, _cells([case.by_model[i] for case in study.cases])))
    return sides


def _cells(found: Sequence[Measured], *, is_truth: bool = False) -> tuple[Any, ...]:
    """A value for each of MEASURES: means, and counts of what is counted over all."""
    measures = [one.measures for one in found]
    n_ended = sum(one.completion.has_ended for one in found)
    ended = bool(n_ended) if len(found) == 1 else f"{n_ended} of {len(found)}"
    made = (
        (None, None, None) if is_truth else (ended, known_of(measures, numbers=True), known_of(measures, numbers=False))
    )
    return (
        _rounded(_mean([one.n_words for one in measures])),
        _rounded(_mean([one.completion.n_tokens for one in found])), *made,
        _mean([one.repetition for one in measures]), _mean([one.distinct_2 for one in measures]),
        _mean([one.cosine_rest for one in found]), _mean([one.cosine_whole for one in found]),
    )  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return known[0] if len(known) == 1 else sum(known) / len(known) if known else None


def _rounded(mean: float | None) -> int | None:
    return None if mean is None else round(mean)


def known_of(measures: Sequence[TextMeasures], *, numbers: bool) -> str | None:
    """How many of the different numbers, or names, of all texts are known: "3 of 5", None where there are none."""
    found = [mention.is_known for one in measures for mention in one.keys(numbers=numbers).values()]
    return f"{sum(found)} of {len(found)}" if found else None


def measured_dict(measured: Measured) -> dict[str, Any]:
    """A completion as JSON has it: `text_for_people` is the text with LaTeX decoded."""
    measures, completion = measured.measures, measured.completion
    return {
        "text": completion.text,
        "text_for_people": measured.text,
        "n_tokens": completion.n_tokens,
        "n_words": measures.n_words,
        "ended": completion.has_ended,
        "repetition": measures.repetition,
        "distinct_1": measures.distinct_1,
        "distinct_2": measures.distinct_2,
        "n_numbers": len(measures.keys(numbers=True)),
        "numbers_known": measures.known_share(numbers=True),
        "numbers_invented": list(measures.invented(numbers=True)),
        "n_names": len(measures.keys(numbers=False)),
        "names_known": measures.known_share(numbers=False),
        "names_invented": list(measures.invented(numbers=False)),
        "cosine_rest": measured.cosine_rest,
        "cosine_whole": measured.cosine_whole,
    }


def long_table(study: CompletionStudy) -> Table:
    """A row for each prompt and model, with all that is measured."""
    rows = [
        {"id": case.prompt.id, "prompt": case.prompt.text, "rest": case.prompt.rest, "model": model.model}
        | measured_dict(measured)
        for case in study.cases
        for model, measured in zip(study.models, case.by_model, strict=True)
    ]
    return Table(tuple(Column(name) for name in rows[0]), tuple(tuple(row.values()) for row in rows))
