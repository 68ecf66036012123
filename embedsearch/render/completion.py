"""Completions beside the true abstract: for a terminal, as JSON and CSV, and as a page of Markdown."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from embedsearch.language.completion_measures import TextMeasures
from embedsearch.language.completion_study import Case, CompletionStudy, Measured
from embedsearch.render import tables
from embedsearch.render.completion_tables import (
    TRUTH,
    about_line,
    long_table,
    measured_dict,
    measures_line,
    measures_table,
    summary_table,
)
from embedsearch.render.markdown import marked
from embedsearch.render.results import arxiv_url
from embedsearch.render.tables import counted, printable, shown

NOT_GIVEN = "in neither the prompt nor the abstract"
MOST_INVENTED = 12
"""Numbers and names that people are shown of one text."""


def to_text(study: CompletionStudy, format: str, *, about: dict[str, Any] | None = None, width: int = 100) -> str:
    """As `table` (the texts, then the measures), `json` (`to_dict` with `about`) or `csv` (one completion a row)."""
    if format == "json":
        return tables.to_json(to_dict(study) | (about or {}))
    if format == "csv":
        return tables.to_text(long_table(study), "csv")
    texts = "\n".join(_case_text(study, case, number, width) for number, case in enumerate(study.cases, 1))
    return f"{texts}\n{tables.to_text(summary_table(study), 'table', width=width)}"


def heading(case: Case, number: int) -> str:
    """What a prompt is called: its paper, or its number."""
    return f"{case.prompt.id}  {case.title}".strip() if case.prompt.id else f"Prompt {number}"


def ending(measured: Measured) -> str:
    """How long a completion is, and why it stopped."""
    n = measured.completion.n_tokens
    long = counted(measured.measures.n_words, "word") if n is None else counted(n, "token")
    return f"{long}, {'ended by the model' if measured.completion.has_ended else 'cut'}"


def invented(measures: TextMeasures) -> str:
    """The numbers and names that a text was not given, for people; "" where there are none."""
    found = [*measures.invented(numbers=False), *measures.invented(numbers=True)]
    more = f" and {len(found) - MOST_INVENTED:,} more" if len(found) > MOST_INVENTED else ""
    return ", ".join(found[:MOST_INVENTED]) + more


def _case_text(study: CompletionStudy, case: Case, number: int, width: int) -> str:
    lines = [heading(case, number), "", _folded(case.text, "  ", width), ""]
    if case.truth is not None:
        lines += [f"  {TRUTH} goes on", _folded(case.truth.text, "    ", width), ""]
    for model, measured in zip(study.models, case.by_model, strict=True):
        lines += [f"  {model.model} ({ending(measured)})", _folded(measured.text or "(nothing)", "    ", width)]
        if found := invented(measured.measures):
            lines.append(_folded(f"{NOT_GIVEN}: {found}", "    ! ", width))
        lines.append("")
    return "\n".join(lines)


def _folded(text: str, indent: str, width: int) -> str:
    lines = textwrap.wrap(printable(text), max(width, 40), initial_indent=indent, subsequent_indent=" " * len(indent))
    return "\n".join(lines)


def to_markdown(study: CompletionStudy) -> str:
    """All texts and the measures as a page of Markdown."""
    lines = ["# How language models finish an abstract", "", marked(about_line(study)), ""]
    for number, case in enumerate(study.cases, 1):
        title, url = marked(printable(heading(case, number))), arxiv_url(case.prompt.id)
        lines += [f"## [{title}]({url})" if url else f"## {title}", "", f"> {_paragraph(case.text)}", ""]
        if case.truth is not None:
            lines += [f"**{TRUTH.capitalize()} goes on**", "", _paragraph(case.truth.text), ""]
        for model, measured in zip(study.models, case.by_model, strict=True):
            lines += [
                f"**{marked(model.model)}** ({ending(measured)})",
                "",
                _paragraph(measured.text) or "(nothing)",
                "",
            ]
            if found := invented(measured.measures):
                lines += [f"*{NOT_GIVEN.capitalize()}: {_paragraph(found)}*", ""]
    table = measures_table(study)
    lines += [
        "| " + " | ".join(marked(column.heading) for column in table.columns) + " |",
        "|---" * len(table.columns) + "|",
    ]
    lines += ["| " + " | ".join(marked(shown(cell)) for cell in row) + " |" for row in table.rows]
    return "\n".join([*lines, "", marked(measures_line(study)), ""])


def _paragraph(text: str) -> str:
    """One line, which cannot begin a list or a quotation of its own."""
    line = marked(printable(text).strip())
    return re.sub(r"^(\d*)(?=[-+=.)])", r"\1\\", line)


def to_dict(study: CompletionStudy) -> dict[str, Any]:
    """Everything, as JSON has it: texts as the models wrote them, and `text_for_people` where LaTeX is decoded."""
    options = study.options
    return {
        "temperature": options.temperature,
        "max_new_tokens": options.max_new_tokens,
        "seed": options.seed,
        "chat": options.use_chat,
        "encoder": study.encoder,
        "n_cut_for_encoder": study.n_cut,
        "models": [
            {"name": one.model, "seconds": one.seconds, "tokens_per_second": one.tokens_per_second, "note": one.note}
            for one in study.models
        ],
        "cases": [
            {
                "id": case.prompt.id or None,
                "title": case.title or None,
                "prompt": case.prompt.text,
                "rest": case.prompt.rest,
                "cosine_prompt_rest": case.cosine_prompt,
                "completions": [
                    {"model": model.model} | measured_dict(measured)
                    for model, measured in zip(study.models, case.by_model, strict=True)
                ],
            }
            for case in study.cases
        ],
    }
