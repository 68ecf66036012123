"""What a contrastive training is made on: near-duplicates found, papers held out, then pairs made of the two sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embedsearch.duplicates.groups import near_duplicates, uncrowded
from embedsearch.duplicates.links import Groups
from embedsearch.encoders import Compute, ModelSpec, Role
from embedsearch.encoders.folder import Model, check_extras, read_model
from embedsearch.encoders.services import is_service
from embedsearch.encoders.transformer import TransformerEncoder
from embedsearch.errors import CorpusError, EncoderError
from embedsearch.records import Paper
from embedsearch.training.contrastive.guards import Trial, guards, held_out_trial
from embedsearch.training.contrastive.options import ContrastiveOptions
from embedsearch.training.contrastive.pairs import Pair, PairKind, abstract_of, make_pairs, title_key, title_of
from embedsearch.training.contrastive.sampling import largest_batch
from embedsearch.training.identity import text_checksum
from embedsearch.training.split import held_out

Told = Callable[[int], None]

FREE = ("model", "revision", "device", "micro_batch")
"""Options that do not change what is trained: the base is known by its hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is trained on, and what is measured. Pairs name papers by position; `groups` (n_papers,) are of papers."""

    groups: Groups
    train: Sequence[Pair]
    validation: Sequence[Pair]
    trials: Sequence[Trial]
    notes: tuple[str, ...]


def base_model(options: ContrastiveOptions) -> Model:
    """The model to start from. Raises ModelNotFound, EncoderError for a service's, MissingExtra."""
    spec = ModelSpec(name=options.model, revision=options.revision)
    if is_service(spec):
        raise EncoderError(f"expected a model whose weights are here, found {spec.name}, a service's; try minilm")
    model = read_model(spec)
    check_extras(model)
    return model


def training_limit(model: Model, options: ContrastiveOptions) -> int:
    """Tokens at which texts are cut in training."""
    return min(options.max_tokens, model.recipe.max_tokens)


def identity_of(model: Model, papers: Sequence[Paper], options: ContrastiveOptions) -> Mapping[str, Any]:
    """What two runs must share to be of the same training."""
    recipe = model.recipe
    return {
        "objective": "contrastive",
        "base": {"weights": recipe.weights, "tokenizer": recipe.tokenizer, "config": recipe.config},
        "corpus": text_checksum({paper.id: f"{title_of(paper)}\n{abstract_of(paper)}" for paper in papers}),
        "n_papers": len(papers),
        "options": {name: value for name, value in options.as_dict().items() if name not in FREE},
    }


def check_papers(papers: Sequence[Paper], options: ContrastiveOptions) -> None:
    """Raise CorpusError where nothing can be paired, before anything is computed."""
    if options.pairs is PairKind.TITLE and not any(title_of(paper) for paper in papers):
        found = f"found none in {len(papers)} papers with an abstract"
        raise CorpusError(f"expected papers with a title to pair with their abstract, {found}; use --pairs halves")


def find_groups(
    model: Model, papers: Sequence[Paper], options: ContrastiveOptions, told: Told | None
) -> dict[str, Any]:
    """The `groups` of near-duplicates and `notes` for people, as JSON can hold them.

    By abstracts as training sees them, cut: that takes a fraction of the time. `told(n_papers)` is called on the way;
    without it nothing is looked for.
    """
    if told is None:
        return {"groups": list(range(len(papers))), "notes": []}
    spec = ModelSpec(name=options.model, revision=options.revision, max_tokens=training_limit(model, options))
    encoder = TransformerEncoder(read_model(spec), compute=Compute(device=options.device, dtype=options.dtype))
    texts = [abstract_of(paper) for paper in papers]
    vectors = encoder.encode_counted(texts, role=Role.DOCUMENT, progress=lambda n_texts, _: told(n_texts)).vectors
    groups = near_duplicates(vectors, min_cosine=options.near_duplicate, keys=[title_key(paper) for paper in papers])
    n_alike = len(groups) - len(np.unique(groups))
    notes = []
    if n_alike:
        notes.append(f"{n_alike} near-duplicates: never a negative of their like, and on its side of the split")
    if uncrowded(vectors)[1]:
        notes.append("the base model finds all papers alike: near-duplicates were looked for about their mean")
    return {"groups": groups.tolist(), "notes": notes}


def make_plan(model: Model, papers: Sequence[Paper], options: ContrastiveOptions, found: Mapping[str, Any]) -> Plan:
    """Hold papers out by what `find_groups` found, and make pairs. Raises CorpusError for too few papers."""
    groups, notes = np.array(found["groups"], np.int64), list(found["notes"])
    if model.files.gguf:
        notes.append(f"the weights of {model.spec.name} were dequantised from {model.files.gguf}")
    away = held_out([paper.id for paper in papers], options.validation, groups=groups)
    prompts = {"query_prompt": model.recipe.query_prompt, "document_prompt": model.recipe.document_prompt}
    pairs = make_pairs(papers, options.pairs, **prompts)
    if model.lower_case:  # sentence-transformers has this done by a tokenizer of its own making, which is not used
        pairs = [replace(pair, anchor=pair.anchor.lower(), positive=pair.positive.lower()) for pair in pairs]
    train = [pair for pair in pairs if not away[pair.paper]]
    most = largest_batch(train, groups)
    if most < 2:
        raise CorpusError(
            f"expected at least 2 different papers to train on, found {most}: of {len(papers)} with an abstract "
            f"{int(away.sum())} are held out and {len(pairs)} pairs are made; take more papers, or --pairs both"
        )
    if most < options.batch:
        notes.append(f"a batch is {most} pairs in place of {options.batch}: there are no more papers that differ")
    guarding = guards()
    if not set(guarding[0].documents).isdisjoint(abstract_of(papers[pair.paper]) for pair in train):
        notes.append("papers of the bundled sample are trained on: queries in a user's words, on them, guard nothing")
    held = held_out_trial([paper for paper, is_away in zip(papers, away, strict=True) if is_away])
    if held is None:
        notes.append(f"none of {len(papers)} papers is held out with a title: nothing says whether unseen ones gain")
    return Plan(
        groups=groups,
        train=train,
        validation=[pair for pair in pairs if away[pair.paper]],
        trials=[*([held] if held else []), *guarding],
        notes=tuple(notes),
    )
