"""A corpus made ready for a causal training: split, tokenised, packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embedsearch.corpus import sample_key
from embedsearch.device import pick_dtype
from embedsearch.errors import CorpusError, OptionError
from embedsearch.language.language_model import LanguageModel
from embedsearch.records import Paper
from embedsearch.texts import Template
from embedsearch.training.causal.options import CausalOptions
from embedsearch.training.causal.packing import Document, attends_within, documents, pack
from embedsearch.training.identity import text_checksum
from embedsearch.training.split import held_out

FEWEST = 8
"""Papers to train on: with less, nothing is learnt but these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A corpus made ready for a model: rows of documents to train on, texts to validate on."""

    rows: Sequence[Sequence[Document]]
    validation: Sequence[str]
    n_train: int
    n_tokens: int
    """Of one epoch, padding not counted."""
    checksum: str
    notes: tuple[str, ...]


def prepare(model: LanguageModel, papers: Sequence[Paper], options: CausalOptions) -> Material:
    """Split, tokenise and pack. Raises CorpusError for too few papers, OptionError for a context that is too long."""
    if options.context > model.max_tokens:
        raise OptionError(f"expected a context of at most the model's {model.max_tokens}, found {options.context}")
    template = Template.parse(options.template)
    texts = {paper.id: template.render(paper) for paper in papers if paper.abstract.strip()}
    # Not the corpus's order: the same papers in another are the same training
    ids = sorted(texts, key=lambda id: sample_key(id, options.seed))
    same: dict[str, int] = {}  # one abstract under two ids is on one side
    groups = [same.setdefault(texts[id].casefold(), len(same)) for id in ids]
    out = held_out(ids, options.validation, groups=groups)
    train_texts = [texts[id] for id, is_out in zip(ids, out, strict=True) if not is_out]
    validation = [texts[id] for id, is_out in zip(ids, out, strict=True) if is_out]
    if len(train_texts) < FEWEST or not validation:
        raise CorpusError(
            f"expected at least {FEWEST} papers to train on and 1 to validate on, found {len(train_texts)} and "
            f"{len(validation)} ({options.validation:.0%} are held out, by their ids): take more papers"
        )
    made = documents(model, train_texts, context=options.context)
    notes: list[str] = []
    if model.note:
        notes.append(f"the base was {model.note}")
    if model.eos_id is None:
        notes.append("the tokenizer has no EOS: documents end without one, and the model does not learn where to stop")
    n_vocabulary = int(model.model.get_input_embeddings().weight.shape[0])
    if attends_within(model.model, n_vocabulary=n_vocabulary):
        packed = pack([len(document) for document in made], options.context)
    else:
        packed = [[position] for position in range(len(made))]
        notes.append("this model would see from one document into the next: each has a row of its own, unpacked")
    return Material(
        rows=[[made[position] for position in row] for row in packed],
        validation=validation,
        n_train=len(train_texts),
        n_tokens=sum(map(len, made)),
        checksum=text_checksum(texts),
        notes=tuple(notes),
    )


def identity_of(model: LanguageModel, material: Material, options: CausalOptions) -> dict[str, Any]:
    """What runs of the same training have in common: corpus, base and options."""
    base = {"weights": model.files.weights_sha256, "tokenizer": model.files.tokenizer_sha256}
    if model.adapter is not None:
        base["adapter"] = model.adapter.weights_sha256
    return {
        "objective": "causal",
        "corpus": material.checksum,
        "base": base,
        "options": options.of_result(),
        "dtype": str(pick_dtype(options.dtype, model.device)).removeprefix("torch."),
    }
