"""Losses against transformers' own, whatever the batch, the padding side and the length; figures and intervals."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_language_models import CONTEXT, make_adapter, make_language_model

from embedsearch.corpus import sample_path
from embedsearch.encoders import Compute
from embedsearch.errors import CorpusError, EncoderError, OptionError
from embedsearch.language import perplexity as perplexity_module
from embedsearch.language.language_model import open_language_model
from embedsearch.language.papers import read_papers
from embedsearch.language.perplexity import Losses, bits_per_byte, paper_losses, perplexity
from embedsearch.language.surprise import measure
from embedsearch.measures import Interval
from embedsearch.records import Paper
from embedsearch.stages.options import BuildOptions

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = ["star gas dust", "étoile hot disk cold old wave gas", "gas", "", "star star nova star hot"]
LONG = " ".join(["star gas hot disk étoile wave old"] * 15)  # 105 tokens: over three contexts
KINDS = {
    "llama": {},
    "llama-left": {"padding_side": "left"},
    "llama-without-bos": {"adds_bos": False, "has_eos": False},
    "gpt2": {"kind": "gpt2", "adds_bos": False},
    "gpt2-with-bos": {"kind": "gpt2", "padding_side": "left"},
}
ATOL = 2e-6
"""Nats of a token in float32."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("models")
    for name, options in KINDS.items():
        make_language_model(home / name, **options)
    make_adapter(home / "adapter", home / "llama")
    compute = Compute(device="cpu", dtype="float32")
    return {name: open_language_model(str(home / name), compute=compute) for name in [*KINDS, "adapter"]}


def transformers_own(model: Any, text: str) -> tuple[float, int]:
    """The sum of the losses by model(input_ids, labels), which is their mean, and the tokens it is over."""
    ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
    n = ids.shape[1] - 1
    if n < 1:
        return 0.0, 0
    with torch.no_grad():
        return float(model.model(input_ids=ids, labels=ids).loss) * n, n


@pytest.mark.parametrize("name", [*KINDS, "adapter"])
def test_the_losses_are_transformers_own(models: dict[str, Any], name: str) -> None:
    losses = paper_losses(models[name], TEXTS)
    expected = [transformers_own(models[name], text) for text in TEXTS]
    assert losses.n_tokens.tolist() == [n for _, n in expected]
    np.testing.assert_allclose(losses.nats, [nats for nats, _ in expected], atol=ATOL * 8)
    assert losses.nats.dtype == np.float64
    assert perplexity(losses) == pytest.approx(math.exp(sum(n for n, _ in expected) / sum(n for _, n in expected)))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("budget", [1, 9, 20])
def test_batches_and_order_change_nothing(models: dict[str, Any], name: str, budget: int) -> None:
    whole = paper_losses(models[name], [*TEXTS, LONG])
    split = paper_losses(models[name], [LONG, *TEXTS[::-1]], token_budget=budget)
    np.testing.assert_allclose(split.nats[::-1], whole.nats, atol=ATOL * 105)
    assert (split.n_tokens[::-1] == whole.n_tokens).all()


def test_the_padding_side_changes_nothing(models: dict[str, Any]) -> None:
    """The same weights, and a tokenizer that pads on the left."""
    right, left = (paper_losses(models[name], TEXTS) for name in ("llama", "llama-left"))
    np.testing.assert_array_equal(left.nats, right.nats)


def test_a_logit_at_a_time_is_the_same(models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paper_losses(models["llama"], TEXTS)
    monkeypatch.setattr(perplexity_module, "CHUNK_NUMBERS", 1)
    np.testing.assert_allclose(paper_losses(models["llama"], TEXTS).nats, whole.nats, atol=ATOL * 8)


def test_a_model_that_does_more_with_its_logits(models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As Gemma caps them: what is computed is then the model's own, and not its head's."""
    llama = models["llama"]
    plain = llama.model.forward

    def capped(**passed: Any) -> Any:
        found = plain(**passed)
        found.logits = 2 * torch.tanh(found.logits / 2)
        return found

    assert perplexity_module._head(llama.model, llama.device) is llama.model.lm_head
    monkeypatch.setattr(llama.model, "forward", capped)
    losses = paper_losses(llama, TEXTS[:1])
    ids = llama.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = torch.log_softmax(llama.model(input_ids=ids).logits[0, :-1], -1)
    expected = -logits.gather(1, ids[0, 1:, None]).sum()
    assert losses.nats[0] == pytest.approx(float(expected), abs=ATOL * 3)


@pytest.mark.parametrize("name", ["llama", "llama-without-bos", "gpt2"])
def test_a_long_text_is_read_in_windows_that_score_each_token_once(models: dict[str, Any], name: str) -> None:
    model = models[name]
    losses = paper_losses(model, [LONG, "gas hot"])
    ids = model.tokenizer(LONG, add_special_tokens=False)["input_ids"]
    bos = [] if model.bos_id is None else [model.bos_id]
    expected, scored = 0.0, 1 - len(bos)
    room = CONTEXT + 1 - len(bos)
    for start in range(0, len(ids), room // 2):
        sequence = torch.tensor([[*bos, *ids[start : start + room]]])
        with torch.no_grad():
            logits = torch.log_softmax(model.model(input_ids=sequence[:, :-1]).logits[0].double(), -1)
        each = -logits.gather(1, sequence[0, 1:, None])[:, 0]
        for j, loss in enumerate(each.tolist()):
            if start + j + 1 - len(bos) == scored:
                expected, scored = expected + loss, scored + 1
    assert scored == len(ids)
    assert losses.n_tokens[0] == len(ids) - (1 - len(bos))
    assert losses.nats[0] == pytest.approx(expected, abs=ATOL * 105)
    assert losses.n_windows[0] > 3
    assert losses.n_windows[1] == 1


def test_bytes_are_those_of_what_is_predicted(models: dict[str, Any]) -> None:
    with_bos, without = (paper_losses(models[name], TEXTS) for name in ("llama", "llama-without-bos"))
    assert with_bos.n_bytes.tolist() == [len(text.encode()) for text in TEXTS]
    assert with_bos.first_bytes.tolist() == [4, 7, 3, 0, 4]  # é takes two
    assert (without.n_bytes == with_bos.n_bytes - with_bos.first_bytes).all()
    assert not without.predicts_first
    assert bits_per_byte(without) == pytest.approx(without.nats.sum() / math.log(2) / without.n_bytes.sum())
    # A lone surrogate, which no tokenizer takes, is read as a question mark
    assert paper_losses(models["llama"], ["star \ud800"]).n_bytes.tolist() == [6]


def test_unknown_tokens_are_counted(models: dict[str, Any]) -> None:
    """They make a text cheap: whatever stands there, it is the one token."""
    assert paper_losses(models["gpt2"], [*TEXTS, "nova star comet"]).n_unknown.tolist() == [0, 0, 0, 0, 1, 2]


def test_without_the_first_token(models: dict[str, Any]) -> None:
    losses = paper_losses(models["llama"], TEXTS)
    rest = losses.without_first()
    assert (rest.n_tokens == losses.n_tokens - [1, 1, 1, 0, 1]).all()
    ids = models["llama"].tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        loss = models["llama"].model(input_ids=ids, labels=torch.where(ids == ids[0, 1], -100, ids)).loss
    assert rest.nats[0] == pytest.approx(2 * float(loss), abs=ATOL * 3)
    # Long texts have one first token, not one a window
    long = paper_losses(models["llama"], [LONG])
    assert long.first_nats[0] == pytest.approx(losses.first_nats[0], abs=ATOL)


def test_progress_ends_with_all_tokens(models: dict[str, Any]) -> None:
    seen: list[tuple[int, int]] = []
    paper_losses(models["llama"], TEXTS, token_budget=8, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1] == sum(1 + len(text.split()) - 1 for text in TEXTS)


def test_out_of_memory_halves_the_batches(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = paper_losses(models["gpt2"], TEXTS)
    real = perplexity_module._batch_losses

    def failing(model: Any, pieces: Any, batch: Any, head: Any) -> Any:
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, pieces, batch, head)

    monkeypatch.setattr(perplexity_module, "_batch_losses", failing)
    np.testing.assert_allclose(paper_losses(models["gpt2"], TEXTS).nats, whole.nats, atol=ATOL * 8)
    assert "starting again with batches of" in caplog.text
    monkeypatch.setattr(
        perplexity_module, "_batch_losses", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory"))
    )
    with pytest.raises(EncoderError, match="one text of 6 tokens does not fit"):
        paper_losses(models["gpt2"], TEXTS)


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    make_language_model(tmp_path / "broken")
    model = open_language_model(str(tmp_path / "broken"), compute=Compute(device="cpu", dtype="float32"))
    torch.nn.init.constant_(model.model.lm_head.weight, math.nan)
    with pytest.raises(EncoderError, match=r"expected losses that are numbers, found nan .* at position 1"):
        paper_losses(model, ["", "star gas"])


def test_a_loss_whose_perplexity_is_no_number(tmp_path: Path) -> None:
    make_language_model(tmp_path / "broken")
    model = open_language_model(str(tmp_path / "broken"), compute=Compute(device="cpu", dtype="float32"))
    model.model.lm_head.weight.data *= 1e5
    with pytest.raises(EncoderError, match=r"expected losses that are numbers, found \d.* at position 1"):
        paper_losses(model, ["", "star gas wave disk"])


def test_no_text_and_no_token(models: dict[str, Any]) -> None:
    for texts in ([], [""]):
        losses = paper_losses(models["llama"], texts)
        assert losses.nats.tolist() == [0.0] * len(texts)
        assert math.isnan(perplexity(losses))
        assert math.isnan(bits_per_byte(losses))


# ---- figures of several models ---------------------------------------------------------------------------------------


def made(nats: Any, tokens: Any, n_bytes: Any, *, first: float = 0.0) -> Losses:
    n = len(nats)
    has = int(first > 0)
    return Losses(
        nats=np.array(nats, float), n_tokens=np.array(tokens), n_bytes=np.array(n_bytes),
        first_nats=np.full(n, first), first_tokens=np.full(n, has), first_bytes=np.full(n, 3 * has),
        n_windows=np.ones(n, int), n_unknown=np.zeros(n, int),
    )  # fmt: skip


def papers(n: int) -> list[Paper]:
    return [Paper(id=f"2101.{i:05d}", title=f"Paper {i}", abstract="star") for i in range(n)]


def test_a_figure_is_a_ratio_of_sums_and_no_mean_of_means() -> None:
    found = measure(papers(2), ["a"], [made([10.0, 2.0], [2, 10], [8, 40])])
    assert found.models[0].perplexity.mean == pytest.approx(math.e)
    assert found.models[0].bits_per_byte.mean == pytest.approx(12 / math.log(2) / 48)
    np.testing.assert_allclose(found.models[0].paper_perplexity, np.exp([5, 0.2]))
    np.testing.assert_allclose(found.models[0].paper_bits, np.array([10 / 8, 2 / 40]) / math.log(2))


def test_intervals_cover_as_often_as_they_say() -> None:
    """Of 100 samples from a population whose figure is known."""
    rng = np.random.default_rng(3)
    n_covered = 0
    for _ in range(100):
        tokens = rng.integers(50, 400, 60)
        losses = made(tokens * rng.gamma(40, 3 / 40, 60), tokens, tokens * 4)
        interval = measure(papers(60), ["a"], [losses]).models[0].perplexity
        n_covered += interval.low <= math.exp(3) <= interval.high
    assert 86 <= n_covered <= 99


def test_the_difference_is_paired() -> None:
    """A model that is better by the same share of bits on every paper: the difference has next to no width."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(100, 300, 40)
    nats = tokens * rng.uniform(2, 5, 40)
    found = measure(
        papers(40), ["base", "tuned"], [made(nats, tokens, tokens * 4), made(0.9 * nats, tokens, tokens * 4)]
    )
    difference = found.differences[0]
    assert (difference.name, difference.against) == ("tuned", "base")
    for value in (difference.bits_per_byte.mean, difference.bits_per_byte.low, difference.bits_per_byte.high):
        assert value == pytest.approx(-10)
    base, tuned = (model.perplexity.mean for model in found.models)
    assert difference.perplexity.mean == pytest.approx(100 * (tuned / base - 1))
    assert difference.perplexity.low < difference.perplexity.mean < difference.perplexity.high
    alone = found.models[0].bits_per_byte
    assert alone.high - alone.low > 0.05


def test_one_paper_has_no_interval() -> None:
    found = measure(papers(1), ["a", "b"], [made([8.0], [4], [16]), made([4.0], [4], [16])])
    assert found.models[0].perplexity.mean == pytest.approx(math.exp(2))
    intervals = [found.models[1].bits_per_byte, found.differences[0].perplexity]
    assert all(math.isnan(end) for interval in intervals for end in (interval.low, interval.high))
    assert found.differences[0].bits_per_byte.mean == pytest.approx(-50)


def test_beside_a_model_without_bos_no_first_token_counts() -> None:
    with_bos, without = made([9.0, 7.0], [4, 4], [15, 15], first=5.0), made([4.0, 2.0], [3, 3], [12, 12])
    found = measure(papers(2), ["a", "b"], [with_bos, without])
    assert found.models[0].bits_per_byte == found.models[1].bits_per_byte
    assert found.models[0].n_tokens == 6
    assert found.differences[0].perplexity == Interval(0.0, 0.0, 0.0)
    assert "given to every model" in found.notes[0]
    alone = measure(papers(2), ["a"], [with_bos])
    assert alone.models[0].n_tokens == 8
    assert "predicted from [BOS]" in alone.notes[0]


def test_papers_of_which_nothing_is_predicted() -> None:
    with pytest.raises(OptionError, match="expected texts of more than one token, found none of which a predicts"):
        measure(papers(1), ["a"], [made([0.0], [0], [0])])
    found = measure(papers(2), ["a"], [made([0.0, 3.0], [0, 3], [0, 9])])
    assert math.isnan(found.models[0].paper_bits[0])
    assert found.models[0].perplexity.mean == pytest.approx(math.e)


def test_long_texts_are_told() -> None:
    losses = dataclasses.replace(made([1.0, 3.0], [1, 3], [4, 9]), n_windows=np.array([1, 4]))
    assert measure(papers(2), ["a"], [losses]).notes[1] == (
        "1 text was longer than a reads at once: overlapping windows."
    )


def test_unknown_tokens_are_told() -> None:
    losses = dataclasses.replace(made([1.0, 3.0], [1, 3], [4, 9]), n_unknown=np.array([1, 1]))
    assert measure(papers(2), ["a"], [losses]).notes[1].startswith("2 tokens stand for what a has no token for")


# ---- papers ---------------------------------------------------------------------------------------------------------


def test_papers_are_those_that_a_build_takes(tmp_path: Path) -> None:
    sample = read_papers()
    assert len(sample.papers) == len(sample.texts) == 120
    assert sample.texts[0] == " ".join(sample.papers[0].abstract.split())
    some = read_papers(sample_path(), options=BuildOptions(sample=7, seed=1, template="{title}"))
    backwards = tmp_path / "backwards.jsonl"
    backwards.write_text("".join(sample_path().read_text(encoding="utf-8").splitlines(keepends=True)[::-1]))
    again = read_papers(backwards, options=BuildOptions(sample=7, seed=1))
    assert {paper.id for paper in some.papers} == {paper.id for paper in again.papers}
    assert some.texts == [" ".join(paper.title.split()) for paper in some.papers]
    (tmp_path / "empty.jsonl").write_text('{"id": "2101.00001", "abstract": " "}\n')
    with pytest.raises(CorpusError, match="expected papers with an abstract"):
        read_papers(tmp_path / "empty.jsonl")
