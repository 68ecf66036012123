"""Completions of several models side by side with the abstract as it is, and what can be measured of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embedsearch.corpus import to_text
from embedsearch.encoders.protocol import Encoder, Role
from embedsearch.errors import OptionError
from embedsearch.language.completion import Completion, CompletionOptions, Prompt
from embedsearch.language.completion_measures import TextMeasures, measure_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one model wrote behind each prompt, and the seconds that it took. `note`: what is to be known of it."""

    model: str
    completions: tuple[Completion, ...]
    seconds: float
    note: str = ""

    @property
    def tokens_per_second(self) -> float | None:
        """None where a service did not count, or nothing was measured."""
        counts = [completion.n_tokens for completion in self.completions]
        known = [n for n in counts if n is not None]
        return sum(known) / self.seconds if len(known) == len(counts) and self.seconds > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A completion, its text for people, and its measures; None is what there is nothing to measure of.

    `cosine_rest`: of the completion and the true rest of the abstract, by the study's encoder, each alone.
    `cosine_whole`: of the two behind the prompt, which is in both and makes them alike. Numbers and names that the
    prompt or the true rest has are known. Of the true rest itself, only the prompt's are, and there are no cosines.
    """

    completion: Completion
    text: str
    measures: TextMeasures
    cosine_rest: float | None = None
    cosine_whole: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One prompt and what became of it: `by_model` in the order of the study's models.

    `text` and `title` are for people, `truth` is the true rest, None where it is not known. `cosine_prompt`: of the
    prompt and the true rest: what a completion reaches that only says the same again.
    """

    prompt: Prompt
    text: str
    title: str
    truth: Measured | None
    cosine_prompt: float | None
    by_model: tuple[Measured, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionStudy:
    """`encoder` is the name of what the cosines are by, None where there are none; `n_cut` texts were too long for it,
    and cut."""

    models: tuple[Written, ...]
    cases: tuple[Case, ...]
    options: CompletionOptions
    encoder: str | None
    n_cut: int = 0


def study_completions(
    prompts: Sequence[Prompt],
    models: Sequence[Written],
    options: CompletionOptions,
    *,
    encoder: Encoder | None = None,
    encoder_name: str = "",
) -> CompletionStudy:
    """Measure what the models wrote behind the prompts.

    Raises OptionError unless each model has one completion for each prompt, and whatever the encoder raises.
    """
    for model in models:
        if len(model.completions) != len(prompts):
            raise OptionError(
                f"expected {len(prompts)} completions by {model.model}, found {len(model.completions)}: one for each"
                " prompt"
            )
    cosines = _Cosines(encoder, _texts(prompts, models))
    return CompletionStudy(
        models=tuple(models),
        cases=tuple(
            _case(prompt, [model.completions[i] for model in models], cosines) for i, prompt in enumerate(prompts)
        ),
        options=options,
        encoder=encoder_name or "encoder" if encoder is not None else None,
        n_cut=cosines.n_cut,
    )


def _case(prompt: Prompt, completions: Sequence[Completion], cosines: _Cosines) -> Case:
    text = to_text(prompt.text)
    rest = None if prompt.rest is None else to_text(prompt.rest)
    truth = None
    if rest is not None and prompt.rest is not None:
        as_written = Completion(text=prompt.rest, n_tokens=None, has_ended=True)
        truth = Measured(completion=as_written, text=rest, measures=measure_text(rest, known=[text]))
    return Case(
        prompt=prompt,
        text=text,
        title=to_text(prompt.title),
        truth=truth,
        cosine_prompt=cosines.of(prompt.text, prompt.rest),
        by_model=tuple(_measured(prompt, completion, [text, rest or ""], cosines) for completion in completions),
    )


def _measured(prompt: Prompt, completion: Completion, known: Sequence[str], cosines: _Cosines) -> Measured:
    text = to_text(completion.text)
    return Measured(
        completion=completion,
        text=text,
        measures=measure_text(text, known=known),
        cosine_rest=cosines.of(completion.text, prompt.rest),
        cosine_whole=cosines.of(prompt.text + completion.text, _whole(prompt)),
    )


def _whole(prompt: Prompt) -> str | None:
    return None if prompt.rest is None else f"{prompt.text} {prompt.rest}"


def _texts(prompts: Sequence[Prompt], models: Sequence[Written]) -> Iterator[str]:
    """What the encoder is asked about; a prompt without a true rest has nothing to be compared to."""
    for i, prompt in enumerate(prompts):
        if prompt.rest is not None:
            yield from (prompt.text, prompt.rest, _whole(prompt) or "")
            for model in models:
                yield from (model.completions[i].text, prompt.text + model.completions[i].text)


class _Cosines:
    """Cosines of texts, each embedded once: as the corpus has them, LaTeX kept, as papers are."""

    def __init__(self, encoder: Encoder | None, texts: Iterator[str]) -> None:
        self.n_cut = 0
        self._rows: dict[str, int] = {}
        if encoder is None:
            return
        found = list(dict.fromkeys(text for text in map(_folded, texts) if text))
        if not found:
            return
        encoded = encoder.encode_counted(found, role=Role.DOCUMENT)
        self._vectors = encoded.vectors
        self._rows = {text: row for row, text in enumerate(found)}
        self.n_cut = int(encoded.truncated.sum())

    def of(self, first: str, second: str | None) -> float | None:
        """None without an encoder, or where a text is empty or not known."""
        rows = [self._rows.get(_folded(text)) for text in (first, second or "")]
        if rows[0] is None or rows[1] is None:
            return None
        return float(np.dot(self._vectors[rows[0]].astype(np.float64), self._vectors[rows[1]].astype(np.float64)))


def _folded(text: str) -> str:
    return " ".join(text.split())
