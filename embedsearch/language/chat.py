"""Asking a service to go on with an abstract, through the chat API of OpenAI or of a server that has the same one."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from embedsearch.encoders.openai import RETRIES, TIMEOUT
from embedsearch.encoders.protocol import ModelSpec, Role
from embedsearch.encoders.service_answers import explained
from embedsearch.encoders.services import Address, find_address, find_key, service_model
from embedsearch.errors import EncoderError, MissingExtra, OptionError
from embedsearch.language.completion import INSTRUCTION, Completion, CompletionOptions, Progress, Prompt, continuation

if TYPE_CHECKING:
    import openai


class ChatModel:
    """A model of a service that answers to instructions. Nothing is sent before `complete`.

    Raises MissingExtra without the client, EncoderError where a key is needed and none is set, OptionError for an
    address that cannot be one.
    """

    def __init__(self, name: str, *, base_url: str | None = None, concurrency: int = 4) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingExtra(f"{name} is asked through the package openai: pip install 'embedsearch[openai]'")
        if concurrency < 1:
            raise OptionError(f"expected at least 1 request at once, found {concurrency}")
        spec = ModelSpec(name=name, base_url=base_url)
        self.name = name
        self.model = service_model(spec)
        self._address = find_address(spec, from_store=False)
        self._key = find_key(self._address)
        self._concurrency = concurrency

    @property
    def address(self) -> Address:
        """Where the service is."""
        return self._address

    def complete(
        self,
        prompts: Sequence[Prompt],
        options: CompletionOptions | None = None,
        *,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """What the service writes behind each prompt, in their order; several are asked for at once.

        The seed is sent along, but services promise nothing for it. Raises OptionError for an empty prompt,
        EncoderError for a request that failed after the client's retries, or was not answered as it must be.
        """
        import openai

        options = options or CompletionOptions()
        for position, prompt in enumerate(prompts, 1):
            if not prompt.text.strip():
                raise OptionError(f"expected text in prompt {position}, found none: give the beginning of an abstract")
        client = openai.OpenAI(
            api_key=self._key, base_url=self._address.url, timeout=TIMEOUT, max_retries=RETRIES[Role.DOCUMENT]
        )
        found: dict[int, Completion] = {}
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="embedsearch-requests")
        try:
            asked = {pool.submit(self._ask, client, prompt, options): i for i, prompt in enumerate(prompts)}
            for done in as_completed(asked):
                found[asked[done]] = done.result()
                if progress is not None:
                    progress(len(found), len(prompts), sum(one.n_tokens or 0 for one in found.values()))
        finally:
            pool.shutdown(cancel_futures=True)
            client.close()
        return [found[i] for i in range(len(prompts))]

    def _ask(self, client: openai.OpenAI, prompt: Prompt, options: CompletionOptions) -> Completion:
        import openai

        try:
            answer = client.chat.completions.create(
                model=self.model,
                messages=[{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": prompt.text}],
                temperature=options.temperature,
                seed=options.seed,
                **self._limit(options.max_new_tokens),
            )
        except openai.OpenAIError as error:
            # From None: the client's errors repeat parts of a key that is wrong, and a traceback would show them.
            raise explained(
                error, model=self.model, address=self._address, key=self._key, wanted="a text",
                smaller="is it a model that chats, and does it take a temperature?", again="try again",
            ) from None  # fmt: skip
        except ValueError:  # of a body that is no JSON
            raise self._no_answer() from None
        return self._completion(prompt, answer)

    def _limit(self, n: int) -> dict[str, Any]:
        # OpenAI's newer models refuse the old name; other servers may not know the new one.
        return {"max_completion_tokens" if self._address.is_provider else "max_tokens": n}

    def _completion(self, prompt: Prompt, answer: Any) -> Completion:
        try:
            choice = answer.choices[0]
            text = choice.message.content
            counted = answer.usage.completion_tokens if answer.usage else None
        except (AttributeError, IndexError, TypeError):  # the client does not look at what it passes on
            raise self._no_answer() from None
        if not isinstance(text, str) or not text.strip():
            raise EncoderError(
                f"expected a text from {self._address.host}, found none (it ended by {choice.finish_reason}): allow"
                " more new tokens, since a model that thinks first may have used them up"
            )
        return Completion(
            text=continuation(prompt.text, text),
            n_tokens=counted if isinstance(counted, int) else None,
            has_ended=choice.finish_reason == "stop",
        )

    def _no_answer(self) -> EncoderError:
        return EncoderError(
            f"expected a chat answer as JSON from {self._address.host}, found another thing: is its address right, as"
            " far as /v1?"
        )
