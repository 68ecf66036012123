"""Models by name on the papers of a corpus: opened one after the other, so that one at a time is in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from embedsearch.device import device_name
from embedsearch.encoders import Compute
from embedsearch.errors import OptionError
from embedsearch.language.language_model import LanguageModel, check_language_model, open_language_model
from embedsearch.language.papers import Papers
from embedsearch.language.perplexity import paper_losses
from embedsearch.language.surprise import Surprise, measure

Begin = Callable[[str], Callable[[int, int], None]]
"""Called with a model's name before it is loaded; gives what is called with the tokens that are done and all."""


def measure_models(
    papers: Papers,
    names: Sequence[str],
    *,
    revision: str | None = None,
    base: str | None = None,
    compute: Compute | None = None,
    seed: int = 0,
    progress: Begin | None = None,
) -> Surprise:
    """Perplexity and bits per byte of the language models of these names, differences against the first.

    `revision` and `base` as `open_language_model` takes them, for every model. All names are looked up before the
    first model is loaded. Raises OptionError for a name that is there twice, and what opening and measuring raise.
    """
    if len(set(names)) < len(names):
        raise OptionError(f"expected each model once, found {', '.join(names)}")
    for name in names:
        check_language_model(name, revision=revision, base=base)
    losses, about = [], []
    for name in names:
        report = progress(name) if progress else None
        model = open_language_model(name, revision=revision, base=base, compute=compute)
        budget = compute.token_budget if compute else None
        losses.append(paper_losses(model, papers.texts, token_budget=budget, progress=report))
        about.append(_about(model))
        del model  # before the next one is loaded
    return measure(papers.papers, names, losses, about=about, seed=seed)


def _about(model: LanguageModel) -> dict[str, Any]:
    adapter = model.adapter
    return {
        "weights": model.files.weights_sha256,
        "source": model.files.source,
        "commit": model.files.commit,
        "adapter": adapter.weights_sha256 if adapter else None,
        "base": model.files.name if adapter else None,
        "note": model.note,
        "context": model.max_tokens,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": device_name(model.device),
    }
