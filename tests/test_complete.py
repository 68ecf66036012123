"""Writing behind a prompt, with a model of random weights and by a service, and what is measured of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chat_server import ChatServer, chatting, spoken
from fake_encoder import FakeEncoder
from tiny_language_models import CONTEXT, make_language_model

from embedsearch.encoders import Compute
from embedsearch.errors import EncoderError, OptionError
from embedsearch.language import generation
from embedsearch.language.chat import ChatModel
from embedsearch.language.completion import INSTRUCTION, Completion, CompletionOptions, Prompt, paper_prompt
from embedsearch.language.completion_study import Written, study_completions
from embedsearch.language.generation import _Draw, _Row, complete
from embedsearch.language.language_model import LanguageModel, open_language_model
from embedsearch.records import Paper

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = [Prompt(text=text) for text in ("star gas", "hot dust wave disk old", "cold", "étoile star star gas wave")]
WARM = CompletionOptions(temperature=1.5, max_new_tokens=12)


def opened(folder: Path) -> LanguageModel:
    return open_language_model(str(folder), compute=Compute(device="cpu", dtype="float32"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_language_model(home / "llama")
    make_language_model(home / "plain", adds_bos=False, has_eos=False)
    make_language_model(home / "gpt2", kind="gpt2")
    return home


@pytest.fixture(scope="module")
def llama(home: Path) -> LanguageModel:
    return opened(home / "llama")


@torch.inference_mode()
def plainly(model: LanguageModel, text: str, n: int) -> list[int]:
    """The likeliest tokens behind a text, each by a whole pass of its own."""
    ids = model.tokenizer(text)["input_ids"]
    begin = len(ids)
    ends = {*model.tokenizer.all_special_ids, model.model.generation_config.eos_token_id}
    while len(ids) < begin + n:
        logits = model.model(input_ids=torch.tensor([ids])).logits[0, -1]
        ids.append(int(logits.argmax()))
        if ids[-1] in ends:
            return ids[begin:-1]
    return ids[begin:]


@pytest.mark.parametrize("kind", ["llama", "plain", "gpt2"])
def test_a_batch_with_kept_keys_is_one_text_at_a_time_without(home: Path, kind: str) -> None:
    model = opened(home / kind)
    found = complete(model, PROMPTS, CompletionOptions(temperature=0, max_new_tokens=12))
    for prompt, one in zip(PROMPTS, found, strict=True):
        expected = plainly(model, prompt.text, 12)
        assert one.text.split() == model.tokenizer.decode(expected).split()
        assert one.n_tokens == len(expected)
        assert one.has_ended == (len(expected) < 12)


def test_keys_are_kept(llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    inner = llama.model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        lengths.append(kwargs["input_ids"].shape[1])
        return inner(*args, **kwargs)

    monkeypatch.setattr(llama.model, "forward", forward)
    found = complete(llama, PROMPTS[:1], CompletionOptions(temperature=0, max_new_tokens=6))
    assert lengths[0] == 3  # BOS and two words
    assert set(lengths[1:]) == {1}
    assert len(lengths) == found[0].n_tokens + found[0].has_ended
    assert not llama.model.config.use_cache  # as it was


def test_a_text_does_not_depend_on_what_else_is_asked(llama: LanguageModel) -> None:
    together = complete(llama, PROMPTS, WARM)
    assert complete(llama, PROMPTS[::-1], WARM) == together[::-1]
    assert [complete(llama, [prompt], WARM)[0] for prompt in PROMPTS] == together
    assert complete(llama, PROMPTS, replace(WARM, token_budget=1)) == together


def test_seeds_are_different_texts(llama: LanguageModel) -> None:
    texts = {complete(llama, PROMPTS[:1], replace(WARM, seed=seed))[0].text for seed in range(8)}
    assert len(texts) > 4


def test_what_is_drawn_has_the_probabilities_of_the_softmax() -> None:
    n, temperature = 4000, 0.7
    logits = torch.tensor([[0.3, -0.5, 1.0, 0.0, 5.0]])
    rows = [_Row(position=i, ids=[0], limit=1, seed=i) for i in range(n)]
    draw = _Draw(rows, [], 4, temperature, 0)
    taken = draw(torch.zeros(n, 1, dtype=torch.long), logits.repeat(n, 1)).argmax(1).numpy()
    expected = torch.softmax(logits[0, :4] / temperature, 0).numpy()  # the fifth has no token
    found = np.bincount(taken, minlength=5) / n
    np.testing.assert_allclose(found[:4], expected, atol=4 * np.sqrt(0.25 / n))
    assert found[4] == 0


def test_no_token_is_drawn_that_has_no_probability() -> None:
    n = 50_000  # tokens, of which the first has all the probability; 400 draws are 20 million random numbers
    rows = [_Row(position=i, ids=[0], limit=1, seed=i) for i in range(50)]
    draw = _Draw(rows, [], n, 1.0, 0)
    logits = torch.full((50, n), -40.0)
    logits[:, 0] = 0
    ids = torch.zeros(50, 1, dtype=torch.long)
    assert all((draw(ids, logits.clone()).argmax(1) == 0).all() for _ in range(8))


def test_the_coldest_temperature_takes_the_likeliest() -> None:
    draw = _Draw([_Row(position=0, ids=[0], limit=1, seed=0)], [], 3, 1e-45, 0)
    assert draw(torch.zeros(1, 1, dtype=torch.long), torch.tensor([[1.0, 3.0, 2.0]])).argmax(1) == 1


def test_texts_end_at_the_end_or_are_cut(llama: LanguageModel) -> None:
    found = [one for seed in range(6) for one in complete(llama, PROMPTS, replace(WARM, seed=seed))]
    ended, cut = [one for one in found if one.has_ended], [one for one in found if not one.has_ended]
    assert ended
    assert cut
    assert all(one.n_tokens == 12 for one in cut)
    assert all(one.n_tokens is not None and one.n_tokens == len(one.text.split()) for one in found)
    assert not any(mark in one.text for one in found for mark in ("</s>", "<s>", "<unk>"))


def test_no_text_goes_past_the_context(home: Path) -> None:
    model = opened(home / "gpt2")  # which has learned so many positions, and no more
    prompts = [Prompt(text=" ".join(["star"] * n)) for n in (2, CONTEXT - 2, 2, 20)]
    found = [one for seed in range(5) for one in complete(model, prompts, CompletionOptions(seed=seed, temperature=2))]
    longest = [max(one.n_tokens or 0 for one in found[i::4]) for i in range(4)]
    assert longest[1] <= 1  # BOS, and the words
    assert longest[3] <= CONTEXT - 21
    assert all(n <= CONTEXT - 3 for n in longest)
    assert not found[1].has_ended or found[1].n_tokens == 0


def test_only_the_temperature_decides(llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    before = complete(llama, PROMPTS, WARM)
    own = llama.model.generation_config
    monkeypatch.setattr(own, "repetition_penalty", 9.0)
    monkeypatch.setattr(own, "top_k", 1)
    assert complete(llama, PROMPTS, WARM) == before
    assert llama.model.generation_config is own


def test_progress_counts_texts_and_tokens(llama: LanguageModel) -> None:
    told: list[tuple[int, int, int]] = []
    options = CompletionOptions(temperature=0, max_new_tokens=6, token_budget=1)
    found = complete(llama, PROMPTS, options, progress=lambda *step: told.append(step))
    assert {total for _, total, _ in told} == {4}
    counts = [n for _, _, n in told]
    assert counts == sorted(counts)
    written = sum((one.n_tokens or 0) + one.has_ended for one in found)
    assert written - 2 <= counts[-1] <= written  # of the last token nothing is told


def test_out_of_memory_halves_the_batch(llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = complete(llama, PROMPTS, WARM)
    inner, sizes = generation._write, []

    def write(model: Any, batch: Any, draw: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return inner(model, batch, draw)

    monkeypatch.setattr(generation, "_write", write)
    limit = 1
    assert complete(llama, PROMPTS, WARM) == expected
    assert sizes[:3] == [4, 2, 1]
    limit = 0
    with pytest.raises(EncoderError, match=r"out of memory on cpu: one prompt of .* and 12 new ones do not fit"):
        complete(llama, PROMPTS, WARM)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \n", "expected text in prompt 1, found none"),
        ("star " * CONTEXT, f"expected fewer than the {CONTEXT} tokens that .* takes in prompt 1, found {CONTEXT + 1}"),
    ],
)
def test_prompts_that_cannot_be_gone_on_from(llama: LanguageModel, text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        complete(llama, [Prompt(text=text)])


@pytest.mark.parametrize("options", [{"temperature": -1}, {"temperature": float("nan")}, {"max_new_tokens": 0}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"expected .*found"):
        CompletionOptions(**options)


def test_a_chat_template_is_used_on_request_alone(llama: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = replace(WARM, use_chat=True)
    with pytest.raises(OptionError, match=r"expected a chat template in .*llama, found none: leave out --chat"):
        complete(llama, PROMPTS, chat)
    bare = complete(llama, PROMPTS, WARM)
    template = "{{ messages[0].role }} star {{ messages[0].content[-8:] }}"
    monkeypatch.setattr(llama.tokenizer, "chat_template", template)
    assert complete(llama, PROMPTS, WARM) == bare
    monkeypatch.setattr(llama.tokenizer, "chat_template", "{{ messages[0].content }}")
    assert generation._templated(llama, "hot gas") == f"{INSTRUCTION}\n\nhot gas"
    monkeypatch.setattr(llama.tokenizer, "chat_template", template)
    assert len(complete(llama, PROMPTS, chat)) == 4
    monkeypatch.setattr(llama.tokenizer, "chat_template", "{{ raise_exception('no such role') }}")
    with pytest.raises(EncoderError, match=r"cannot fill the chat template of .*no such role"):
        complete(llama, PROMPTS, chat)


# ---- papers --------------------------------------------------------------------------------------------------------


def test_the_prompt_of_a_paper_is_its_first_sentences() -> None:
    abstract = "We map $z\\sim 0.3$\nclusters (e.g. Abell 1). Smith et al. did not. There are 4. We\nwait."
    found = paper_prompt(Paper(id="1", title="On  a\nmap", abstract=abstract), n_sentences=2)
    assert found.text == "We map $z\\sim 0.3$ clusters (e.g. Abell 1). Smith et al. did not."
    assert found.rest == "There are 4. We wait."
    assert found.title == "On a map"


@pytest.mark.parametrize(
    ("abstract", "said"),
    [
        ("One. Two. Three.", "expected from 1 to 2 sentences of 1, whose abstract has 3, found 3"),
        ("Only one.", "expected an abstract of two sentences or more, found 1 in 1"),
        ("", "expected an abstract of two sentences or more"),
    ],
)
def test_something_must_be_left_to_write(abstract: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        paper_prompt(Paper(id="1", abstract=abstract))


# ---- measures ------------------------------------------------------------------------------------------------------


def written(model: str, *texts: str) -> Written:
    completions = [Completion(text=text, n_tokens=len(text.split()), has_ended=True) for text in texts]
    return Written(model=model, completions=tuple(completions), seconds=2.0)


def test_a_study_has_each_models_measures_in_order() -> None:
    prompts = [Prompt(text="star", id="1", rest="gas of $10^{3}$ M31"), Prompt(text="dust")]
    models = [written("a", " gas in M 31 by 7", " wave"), written("b", "", " plasma")]
    study = study_completions(prompts, models, WARM, encoder=FakeEncoder(), encoder_name="fake")
    first, second = study.cases
    a, b = first.by_model
    assert first.truth is not None
    assert first.truth.text == "gas of 10³ M31"
    assert first.cosine_prompt == 0.0  # star, gas
    assert a.cosine_rest == pytest.approx(1)
    assert a.cosine_whole == pytest.approx(1)
    assert a.measures.invented(numbers=True) == ("7",)
    assert a.measures.known_share(numbers=False) == 1
    assert b.cosine_rest is None  # nothing was written
    assert b.cosine_whole == pytest.approx(2**-0.5)  # star, star and gas
    assert second.truth is None
    assert [one.cosine_whole for one in second.by_model] == [None, None]
    assert study.models[0].tokens_per_second == 3.5


def test_without_an_encoder_there_are_no_cosines() -> None:
    study = study_completions([Prompt(text="star", rest="gas")], [written("a", "gas")], WARM)
    assert study.encoder is None
    assert study.cases[0].by_model[0].cosine_rest is None


def test_a_study_needs_a_completion_for_each_prompt() -> None:
    with pytest.raises(OptionError, match="expected 2 completions by a, found 1"):
        study_completions(PROMPTS[:2], [written("a", "gas")], WARM)


# ---- a service -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with chatting() as server:
        yield server


def asked(server: ChatServer) -> ChatModel:
    return ChatModel("openai:fake-chat", base_url=server.url)


def test_a_service_is_given_instruction_and_text(server: ChatServer) -> None:
    server.answer = lambda body: (200, spoken(f" {body['messages'][1]['content']} and more.\n"))
    found = asked(server).complete(PROMPTS[:2], CompletionOptions(max_new_tokens=99, seed=5))
    assert found == [Completion(text=" and more.", n_tokens=7, has_ended=True)] * 2  # what was repeated is taken out
    body = next(body for body in server.requests if body["messages"][1]["content"] == "star gas")
    assert body["path"] == "/v1/chat/completions"
    assert body["messages"][0] == {"role": "system", "content": INSTRUCTION}
    assert (body["model"], body["temperature"], body["seed"]) == ("fake-chat", 0.3, 5)
    assert body["max_tokens"] == 99
    assert server.keys[0] == "Bearer sk-secret"


def test_a_service_that_was_cut(server: ChatServer) -> None:
    server.answer = lambda body: (200, spoken("and", reason="length"))
    told: list[tuple[int, int, int]] = []
    found = asked(server).complete(PROMPTS[:1], progress=lambda *step: told.append(step))
    assert not found[0].has_ended
    assert told == [(1, 1, 7)]


def test_a_service_that_counts_in_words(server: ChatServer) -> None:
    server.answer = lambda body: (200, spoken("and") | {"usage": {"completion_tokens": "seven"}})
    told: list[tuple[int, int, int]] = []
    assert asked(server).complete(PROMPTS[:1], progress=lambda *step: told.append(step))[0].n_tokens is None
    assert told == [(1, 1, 0)]


def test_openai_is_told_the_limit_by_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert ChatModel("openai:any")._limit(9) == {"max_completion_tokens": 9}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {"error": {"message": "wrong key sk-secret"}}), "that it is refused"),
        ((404, {"error": {"message": "no fake-chat"}}), "expected the model 'fake-chat' at http"),
        (
            (400, {"error": {"message": "no temperature"}}),
            "to take a request, found 400: no temperature: is it a model",
        ),
        ((200, "<html>a hotel</html>"), "expected a chat answer as JSON from 127"),
        ((200, {"choices": []}), "expected a chat answer as JSON from 127"),
        ((200, spoken(None, reason="length")), r"expected a text from .*, found none \(it ended by length\)"),
    ],
)
def test_answers_that_are_none(server: ChatServer, answer: tuple[int, Any], said: str) -> None:
    server.answer = lambda body: answer
    with pytest.raises(EncoderError, match=said) as raised:
        asked(server).complete(PROMPTS[:1])
    assert "sk-secret" not in str(raised.value)


def test_a_service_needs_a_key_a_name_and_a_text(monkeypatch: pytest.MonkeyPatch, server: ChatServer) -> None:
    with pytest.raises(OptionError, match="expected text in prompt 1"):
        asked(server).complete([Prompt(text="")])
    with pytest.raises(OptionError, match="as openai:NAME"):
        ChatModel("openai:")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EncoderError, match=r"expected a key for api.openai.com in OPENAI_API_KEY, found none"):
        ChatModel("openai:any")
