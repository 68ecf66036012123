"""The model card of a result: what it was made from, how, and what that gained. YAML in front, as the hub reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from embedsearch._version import __version__
from embedsearch.encoders.models import NAMED_MODELS
from embedsearch.training.report import TrainingReport, model_name

CARD_NAME = "README.md"
KINDS = {
    "causal": ("transformers", "text-generation"),
    "contrastive": ("sentence-transformers", "sentence-similarity"),
}
"""By objective: the library and the task that the hub lists a model under."""


def model_card(report: TrainingReport) -> str:
    """The card as Markdown, without any path of this machine."""
    return "\n".join([*_front_matter(report), *_text(report), ""])


def _front_matter(report: TrainingReport) -> Iterator[str]:
    library, task = KINDS[report.objective]
    if report.options.get("merge") is False:  # an adapter alone
        library = "peft"
    named = NAMED_MODELS.get(report.base)
    yield "---"
    yield f"base_model: {json.dumps(named.hub_id if named else model_name(report.base))}"
    yield f"library_name: {library}"
    yield f"pipeline_tag: {task}"
    yield "tags: [embedsearch]"
    yield "---"


def _text(report: TrainingReport) -> Iterator[str]:
    base = model_name(report.base)
    yield f"# {base}, adapted to a literature\n"
    yield (
        f"Made by `embedsearch finetune` {__version__}, objective `{report.objective}`, from {base}. The licence of "
        "the base model holds for this one as well.\n"
    )
    yield "## Data\n"
    corpus = report.identity.get("corpus", {})
    yield f"- {report.n_train:,} papers trained on, {report.n_validation:,} held out by the hash of their ids"
    yield f"- {report.n_tokens:,} tokens over all epochs"
    if isinstance(corpus, str):
        yield f"- SHA-256 of ids and texts: `{corpus}`"
    yield "\n## Recipe\n"
    yield from (f"- {name}: {_shown(value)}" for name, value in report.options.items() if name not in ("model", "base"))
    yield f"- {report.seconds / 60:.1f} minutes of training"
    yield "\n## Measures\n"
    yield "| measure | before | after | difference, 95 % |"
    yield "|---|---|---|---|"
    for measure in report.measures:
        yield f"| {measure.name} | {measure.before:.4g} | {measure.after:.4g} | {measure.difference or '–'} |"
    if report.notes:
        yield "\n## Notes\n"
        yield from (f"- {note}" for note in report.notes)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
