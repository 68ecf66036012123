"""What a completion of an abstract is: the prompt, how it is continued, and the text that comes of it.

As in the AstroLLaMA paper's Figure 2. `generation` writes with a model on this machine, `chat` asks a service.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from embedsearch.errors import OptionError
from embedsearch.records import Paper
from embedsearch.sentences import sentences

INSTRUCTION = (
    "Below is the beginning of the abstract of a research paper. Write the rest of this abstract: a single paragraph"
    " that goes on where the text stops, in the same style. Answer with that paragraph alone, without repeating the"
    " beginning, and without a heading or a comment."
)
"""What a model that follows instructions is told before the text. The AstroLLaMA paper, which does not print its own,
asks for a single paragraph too."""

Progress = Callable[[int, int, int], None]
"""Called after each step with the texts that are finished, all texts, and the tokens written so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The text that a model goes on from, LaTeX as it is in the corpus. `rest` is how the abstract really goes on.

    Of a paper, `id`, `title` and `rest` are known; else they are empty and None.
    """

    text: str
    id: str = ""
    title: str = ""
    rest: str | None = None

    def __post_init__(self) -> None:
        # Half of a surrogate pair, as a shell makes it of bytes that are no UTF-8, can be neither encoded nor sent.
        object.__setattr__(self, "text", self.text.encode(errors="replace").decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionOptions:
    """How texts are written: the AstroLLaMA paper's temperature of 0.3. 0 always takes the likeliest token.

    `seed`: the same draws for the same prompt, whatever else is asked, and whichever model draws. `use_chat`: the text
    goes into the model's chat template behind `INSTRUCTION`; without, every model is given the bare text, one that
    follows instructions too. `token_budget`: tokens that are kept at once, None: `generation.CACHE_TOKENS`.
    """

    temperature: float = 0.3
    max_new_tokens: int = 1024
    seed: int = 0
    use_chat: bool = False
    token_budget: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise OptionError(f"expected a temperature from 0 to 10, found {self.temperature}")
        if self.max_new_tokens < 1:
            raise OptionError(f"expected at least 1 new token, found {self.max_new_tokens}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model wrote behind a prompt. `n_tokens` as the model counts, None where a service does not say.

    `has_ended`: the model ended the text itself; otherwise it was cut at `max_new_tokens`, or at the model's context.
    """

    text: str
    n_tokens: int | None
    has_ended: bool


def paper_prompt(paper: Paper, *, n_sentences: int = 3) -> Prompt:
    """The first sentences of a paper's abstract, as models are trained on it: LaTeX kept, line breaks folded.

    Raises OptionError where that leaves nothing to write.
    """
    found = sentences(" ".join(paper.abstract.split()))
    if not 1 <= n_sentences < len(found):
        raise OptionError(
            f"expected from 1 to {len(found) - 1} sentences of {paper.id}, whose abstract has {len(found)}, found"
            f" {n_sentences}: something must be left to write"
            if len(found) > 1
            else f"expected an abstract of two sentences or more, found {len(found)} in {paper.id}: take another paper"
        )
    return Prompt(
        text=" ".join(found[:n_sentences]),
        id=paper.id,
        title=" ".join(paper.title.split()),
        rest=" ".join(found[n_sentences:]),
    )


def continuation(prompt: str, answer: str) -> str:
    """What an answer adds: many begin with the text that they were given."""
    return " " + answer.strip().removeprefix(prompt.strip()).strip()
