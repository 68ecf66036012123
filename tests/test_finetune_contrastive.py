"""Contrastive training of tiny models: what it gains, that the folder is used alike everywhere, that it goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tiny_language_models import make_language_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from embedsearch.corpus import open_corpus, sample_path
from embedsearch.encoders import Compute, ModelSpec, Role, open_encoder
from embedsearch.encoders import Pooling as Pooled
from embedsearch.errors import CorpusError, EncoderError, OptionError
from embedsearch.records import Paper
from embedsearch.training.contrastive.finetune import BOS_NOTE, ContrastiveOptions, finetune_contrastive
from embedsearch.training.contrastive.guards import compare, fallen, first_ranks
from embedsearch.training.contrastive.pairs import PairKind
from embedsearch.training.contrastive.sentence_weights import mix
from embedsearch.training.rehearsal import rehearse
from embedsearch.training.report import Measure, TrainingReport
from embedsearch.training.split import held_out
from embedsearch.training.watching import TrainingStep
from embedsearch.training.workspace import RunOptions

pytestmark = pytest.mark.usefixtures("one_thread")

TOPICS = 40
EXACT = Compute(device="cpu", dtype="float32")
TEXTS = ["star gas dust", "wave", "disk hot cold old star gas dust wave disk hot", "t1 t2 A3 A4"]


def invented(n: int) -> list[Paper]:
    """Papers whose titles and abstracts share no word: t7 in a title goes with A7 in its abstract."""
    rng = np.random.default_rng(5)
    papers = []
    for i in range(n):
        topics = rng.choice(TOPICS, 4, replace=False)
        first, second = (" ".join(f"A{t}" for t in half) for half in (topics[:2], topics[2:]))
        title = " ".join(f"t{t}" for t in topics[:3])
        papers.append(Paper(id=f"2301.{i:05d}", title=title, abstract=f"{first} . {second} ."))
    return papers


PAPERS = invented(240)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder of random weights with a prompt before queries."""
    folder = tmp_path_factory.mktemp("bert")
    words = [f"{kind}{t}" for t in range(TOPICS) for kind in "tA"] + ["star", "gas", "dust", "wave", "disk", "q"]
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_max_length=64
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    modules = [Transformer(str(folder), max_seq_length=50), Pooling(32, "mean"), Normalize()]
    prompts = {"query": "q ", "document": ""}
    SentenceTransformer(modules=modules, prompts=prompts).save(str(folder), create_model_card=False)
    return folder


def small(model: Path, **options: object) -> ContrastiveOptions:
    defaults = {"batch": 16, "micro_batch": 8, "learning_rate": 3e-3, "max_tokens": 32, "validation": 0.2}
    return ContrastiveOptions(model=str(model), device="cpu", dtype="float32", **(defaults | options))


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingReport]:
    out = tmp_path_factory.mktemp("trained") / "model"
    return out, finetune_contrastive(PAPERS, small(bert, epochs=8.0, micro_batch=16, evaluations=1), out)


def measured(report: TrainingReport, name: str) -> Measure:
    return next(measure for measure in report.measures if measure.name == name)


def curve(report: TrainingReport) -> list[tuple[int, float | None, float | None]]:
    return [(point.step, point.train, point.validation) for point in report.losses]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


# ---- what it gains, and what it leaves as it was ---------------------------------------------------------------------


def test_titles_that_were_held_out_find_their_abstracts(trained: tuple[Path, TrainingReport]) -> None:
    _, report = trained
    gain = measured(report, "held-out titles: MRR@10")
    assert gain.difference is not None
    assert gain.difference.low > 0.3
    assert (report.n_train, report.n_validation) == (197, 43)
    validation = [point.validation for point in report.losses if point.validation is not None]
    assert validation[-1] < 0.7 * validation[0]
    assert {"queries in a user's words: MRR@10", "other fields, questions: MRR@10"} < {m.name for m in report.measures}


def test_the_folder_is_used_as_its_base_was(bert: Path, trained: tuple[Path, TrainingReport]) -> None:
    recipe = open_encoder(str(trained[0])).recipe
    base = open_encoder(str(bert)).recipe
    assert (recipe.query_prompt, recipe.pooling, recipe.max_tokens) == ("q ", Pooled.MEAN, 50)
    assert replace(recipe, weights="", config="", tokenizer="") == replace(base, weights="", config="", tokenizer="")
    assert recipe.weights != base.weights
    assert "held-out titles: MRR@10" in (trained[0] / "README.md").read_text()


@pytest.mark.parametrize("role", list(Role))
def test_sentence_transformers_gives_the_same_vectors(trained: tuple[Path, TrainingReport], role: Role) -> None:
    plain = SentenceTransformer(str(trained[0]), device="cpu", local_files_only=True)
    expected = plain.encode_query(TEXTS) if role is Role.QUERY else plain.encode_document(TEXTS)
    np.testing.assert_allclose(
        open_encoder(str(trained[0]), compute=EXACT).encode(TEXTS, role=role), expected, atol=2e-6
    )


def test_a_model_that_lowers_its_texts_still_does(bert: Path, tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    shutil.copytree(bert, base)
    stated = json.loads((base / "sentence_bert_config.json").read_text())
    (base / "sentence_bert_config.json").write_text(json.dumps(stated | {"do_lower_case": True}))
    papers = [replace(paper, abstract=f"{paper.title} star") for paper in PAPERS[:40]]  # in words that it knows
    finetune_contrastive(papers, small(base), out)
    ours = open_encoder(str(out), compute=EXACT).encode(["STAR gas", "star gas"], role=Role.DOCUMENT)
    theirs = SentenceTransformer(str(out), device="cpu", local_files_only=True).encode(["STAR gas", "star gas"])
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    np.testing.assert_array_equal(ours[0], ours[1])


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_causal_model_is_pooled_without_its_bos(adds_bos: bool, tmp_path: Path) -> None:
    base = tmp_path / "base"
    make_language_model(base, adds_bos=adds_bos, has_eos=False)  # no token to pad with, either
    (base / "chat_template.jinja").write_text("hot {% for message in messages %}{{ message['content'] }}{% endfor %}")
    out = tmp_path / "out"
    words = ["star", "gas", "dust", "wave", "disk", "hot", "cold", "old"]
    papers = [
        Paper(id=f"{i}", title=f"{first} {second}", abstract=f"{second} {first} {first}")
        for i, (first, second) in enumerate((a, b) for a in words for b in words if a != b)
    ]
    report = finetune_contrastive(papers, small(base, epochs=1.0, learning_rate=1e-4), out)
    assert (BOS_NOTE in report.notes) is adds_bos
    encoder = open_encoder(str(out), compute=EXACT)
    assert encoder.recipe.pooling is (Pooled.MEAN_WITHOUT_BOS if adds_bos else Pooled.MEAN)
    ours = encoder.encode(TEXTS, role=Role.DOCUMENT)
    theirs = SentenceTransformer(str(out), device="cpu", local_files_only=True).encode(TEXTS)
    if not adds_bos:
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
        return
    assert np.abs(ours - theirs).max() > 1e-3  # it has no mean without the first token
    plain = open_encoder(ModelSpec(name=str(out), pooling=Pooled.MEAN), compute=EXACT)
    np.testing.assert_allclose(plain.encode(TEXTS, role=Role.DOCUMENT), theirs, atol=2e-6)


def test_without_a_bos_in_training_the_first_token_of_a_text_gets_no_weight(tmp_path: Path) -> None:
    from embedsearch.encoders.folder import read_model
    from embedsearch.training.contrastive.sentence_model import open_sentence_model

    make_language_model(tmp_path)
    model = read_model(ModelSpec(name=str(tmp_path)))
    built = open_sentence_model(model, max_tokens=8, device=torch.device("cpu"), scratch=tmp_path / "scratch")
    expected = open_encoder(str(tmp_path), compute=EXACT).encode(TEXTS[:2], role=Role.DOCUMENT)
    np.testing.assert_allclose(built.encode(TEXTS[:2]), expected, atol=2e-6)


# ---- the loss --------------------------------------------------------------------------------------------------------


def test_cached_gradients_in_small_micro_batches_are_those_of_the_whole_batch(bert: Path, tmp_path: Path) -> None:
    reports = [
        finetune_contrastive(PAPERS[:100], small(bert, micro_batch=micro, symmetric=True), tmp_path / f"out{micro}")
        for micro in (16, 4)
    ]
    whole, cached = (np.array([point.train for point in report.losses if point.train]) for report in reports)
    assert len(whole) == 5
    np.testing.assert_allclose(cached, whole, rtol=1e-4)
    assert whole[-1] < whole[0]


def test_a_mix_of_none_is_the_base_and_of_a_half_the_mean(bert: Path, tmp_path: Path) -> None:
    for share in (1.0, 0.5, 0.0):
        first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        trained = {name: p.detach().clone() for name, p in first.named_parameters()}
        mix(first, second, share)
        for name, parameter in first.named_parameters():
            torch.testing.assert_close(parameter, share * trained[name] + (1 - share) * second.get_parameter(name))
    report = finetune_contrastive(PAPERS[:60], small(bert, mix=0.0), tmp_path / "out")
    assert all(torch.equal(made, weights(bert)[name]) for name, made in weights(tmp_path / "out").items())
    assert all(m.before == m.after for m in report.measures)


def test_adapters_are_merged_into_an_ordinary_folder(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "lora"
    report = finetune_contrastive(PAPERS[:60], small(bert, lora=4, learning_rate=1e-2, epochs=3.0, evaluations=1), out)
    base, merged = weights(bert), weights(out)
    assert base.keys() == merged.keys()
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed
    assert all(name.endswith("weight") and base[name].ndim == 2 and "embeddings" not in name for name in changed)
    assert report.losses[-1].train < report.losses[1].train


# ---- going on --------------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def killer(step: int) -> Callable[[TrainingStep], None]:
    def progress(told: TrainingStep) -> None:
        if told.stage == "training" and told.done == step:
            raise Killed

    return progress


def test_a_training_that_was_killed_goes_on_to_the_same_curve_and_weights(bert: Path, tmp_path: Path) -> None:
    options, papers = small(bert, pairs=PairKind.BOTH, dropout=True), PAPERS[:80]
    whole = finetune_contrastive(papers, options, tmp_path / "whole")
    out = tmp_path / "killed"
    each_step = RunOptions(checkpoint_minutes=0)
    with pytest.raises(Killed):
        finetune_contrastive(papers[::-1], options, out, killer(5), run=each_step)
    assert not out.exists()
    resumed = finetune_contrastive(papers, options, out, run=each_step)
    assert curve(resumed) == curve(whole)
    assert weights(out).keys() == weights(tmp_path / "whole").keys()
    assert all(torch.equal(w, weights(tmp_path / "whole")[name]) for name, w in weights(out).items())
    assert resumed.measures == whole.measures
    assert len([point for point in whole.losses if point.train is not None]) == 8
    assert finetune_contrastive(papers, options, out).already_complete


def test_a_rehearsal_measures_steps_and_leaves_nothing(bert: Path) -> None:
    found = rehearse(finetune_contrastive, PAPERS[:80], small(bert, epochs=2.0))
    assert (found.n_papers, found.n_steps) == (80, 8)
    assert 80 * 2 * 7 < found.n_tokens < 80 * 2 * 11
    assert min(found.tokens_per_second, found.seconds, found.peak_bytes, found.disk_bytes) > 0


# ---- near-duplicates -------------------------------------------------------------------------------------------------


def test_where_many_are_alike_the_sampler_says_nothing(
    bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alike = [replace(paper, title="t1") if i < 40 else paper for i, paper in enumerate(PAPERS[:60])]
    report = finetune_contrastive(alike, small(bert, batch=8), tmp_path / "out")
    assert report.losses
    assert "NoDuplicatesBatchSampler" not in caplog.text


def test_tokens_are_those_that_were_trained_on(bert: Path, tmp_path: Path) -> None:
    tokens = [
        finetune_contrastive(PAPERS[:40], small(bert, batch=batch), tmp_path / f"out{batch}").n_tokens
        for batch in (2, 20)  # of some 32 pairs 20 stand in a batch, and the rest in none
    ]
    assert 0.5 < tokens[1] / tokens[0] < 0.75


def test_near_duplicates_are_on_one_side_and_said(bert: Path, tmp_path: Path) -> None:
    twins = [replace(paper, id=f"{paper.id}v", title=f"{paper.title}!") for paper in PAPERS[:40]]
    report = finetune_contrastive([*PAPERS[:80], *twins], small(bert), tmp_path / "out")
    assert any(note.startswith("40 near-duplicates") for note in report.notes)
    assert report.n_train + report.n_validation == 120


# ---- what is measured ------------------------------------------------------------------------------------------------


def test_ranks_are_of_the_first_right_one_and_ties_stand_before_it() -> None:
    documents = np.float32([[1, 0], [0, 1], [0, 1], [0.6, 0.8]])
    queries = np.float32([[0, 1], [1, 0], [0, 1], [0, 1]])
    assert first_ranks(queries, documents, [(1,), (0,), (3, 0), (1, 2)]).tolist() == [2, 1, 3, 1]


def test_a_fall_beyond_chance_is_said_and_one_within_is_not() -> None:
    before = {"a": np.ones(20), "b": np.ones(20), "c": np.array([1.0])}
    after = {"a": np.full(20, 0.9), "b": np.array([0.8] + [1.0] * 19), "c": np.array([0.5])}
    measures = compare(before, after)
    assert [m.difference is None for m in measures] == [False, False, True]
    (line,) = fallen(measures)
    assert line.startswith("a got worse: 1.000 before, 0.900 after, difference -0.100 [-0.100, -0.100]; try")


def test_what_got_worse_is_in_the_report(trained: tuple[Path, TrainingReport], tmp_path: Path) -> None:
    away = held_out([paper.id for paper in PAPERS], 0.2)
    other = {f"t{t}": f"t{(t + 1) % TOPICS}" for t in range(TOPICS)}
    wrong = [
        paper if is_away else replace(paper, title=" ".join(other[word] for word in paper.title.split()))
        for paper, is_away in zip(PAPERS, away, strict=True)
    ]
    options = small(trained[0], epochs=4.0, micro_batch=16, evaluations=1)
    report = finetune_contrastive(wrong, options, tmp_path / "out")
    assert any(note.startswith("held-out titles: MRR@10 got worse: ") for note in report.notes)


def test_a_guard_whose_papers_are_trained_on_is_said_to_be_none(
    bert: Path, trained: tuple[Path, TrainingReport], tmp_path: Path
) -> None:
    sample = list(open_corpus(sample_path()))[:20]
    report = finetune_contrastive([*PAPERS[:40], *sample], small(bert), tmp_path / "out")
    assert any(note.startswith("papers of the bundled sample are trained on") for note in report.notes)
    assert not any("bundled sample" in note for note in trained[1].notes)


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_papers_without_titles_are_told_of_the_halves(bert: Path, tmp_path: Path) -> None:
    bare = [replace(paper, title="") for paper in PAPERS[:50]]
    with pytest.raises(CorpusError, match=r"expected papers with a title .* found none in 50 .*--pairs halves"):
        finetune_contrastive(bare, small(bert), tmp_path / "out")
    report = finetune_contrastive(bare, small(bert, pairs=PairKind.HALVES), tmp_path / "out")
    assert any("nothing says whether unseen ones gain" in note for note in report.notes)


def test_three_papers_make_a_batch_of_their_own_and_two_of_one_paper_none(bert: Path, tmp_path: Path) -> None:
    report = finetune_contrastive(PAPERS[:3], small(bert), tmp_path / "out")
    assert any(note.startswith(f"a batch is {report.n_train} pairs in place of 16") for note in report.notes)
    with pytest.raises(CorpusError, match="expected at least 2 different papers to train on, found 1"):
        finetune_contrastive([PAPERS[0], replace(PAPERS[0], id="x")], small(bert), tmp_path / "twice")
    assert not list(tmp_path.glob(".twice*"))
    with pytest.raises(CorpusError, match="expected papers with a title"):
        finetune_contrastive([], small(bert), tmp_path / "none")


def test_a_seed_that_none_can_be() -> None:
    with pytest.raises(OptionError, match="expected seed from 0 to below 4294967296, found -1"):
        ContrastiveOptions(seed=-1)


@pytest.mark.parametrize("name", ["ada-002", "openai:text-embedding-3-small"])
def test_a_service_cannot_be_trained(name: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=f"expected a model whose weights are here, found {name}"):
        finetune_contrastive(PAPERS, ContrastiveOptions(model=name), tmp_path / "out")
