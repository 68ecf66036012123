"""Causal training: packed documents do not see one another, and the result is a model that others load."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_language_models import WORDS, make_adapter, make_gguf, make_language_model
from tiny_trainings import options, papers
from transformers import AutoModelForCausalLM, AutoTokenizer

from embedsearch.encoders import Role, open_encoder
from embedsearch.errors import CorpusError, EncoderError, OptionError
from embedsearch.language.language_model import LanguageModel, open_language_model
from embedsearch.language.perplexity import paper_losses, perplexity
from embedsearch.training.cards import model_card
from embedsearch.training.causal.finetune import finetune_causal
from embedsearch.training.causal.material import prepare
from embedsearch.training.causal.options import CausalOptions
from embedsearch.training.causal.packing import IGNORED, Collator, attends_within, documents, pack
from embedsearch.training.causal.trainer import gathered, trainable
from embedsearch.training.merging import merge
from embedsearch.training.report import TrainingReport, read_report
from embedsearch.training.split import held_out


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    for kind in ("llama", "gpt2"):
        make_language_model(folder / kind, kind=kind)
    return {kind: folder / kind for kind in ("llama", "gpt2")}


@pytest.fixture(scope="module")
def full(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingReport]:
    out = tmp_path_factory.mktemp("full") / "out"
    return out, finetune_causal(papers(), options(bases["llama"]), out)


@pytest.fixture(scope="module")
def lora(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingReport]:
    out = tmp_path_factory.mktemp("lora") / "out"
    return out, finetune_causal(papers(), options(bases["llama"], lora=4), out)


def opened(folder: Path, **settings: Any) -> LanguageModel:
    return open_language_model(str(folder), dtype="float32", **settings)


# ---- packing --------------------------------------------------------------------------------------------------------


def test_rows_hold_every_document_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 33, size=200).tolist()
    rows = pack(lengths, 32)
    assert sorted(position for row in rows for position in row) == list(range(200))
    filled = [sum(lengths[position] for position in row) for row in rows]
    assert max(filled) <= 32
    assert len(rows) <= 1.05 * sum(lengths) / 32 + 1
    assert pack([], 32) == []


def test_documents_have_bos_and_eos_and_fit(bases: dict[str, Path]) -> None:
    model = opened(bases["llama"])
    made = documents(model, ["star gas", " ".join(WORDS * 5)], context=32)
    assert made[0][0] == model.bos_id
    assert made[0][-1] == model.eos_id
    assert [len(document) for document in made] == [4, 32, 15]
    assert made[2][-1] == model.eos_id
    assert documents(model, [" ".join(["star"] * 31)], context=32) == [[model.bos_id, *[made[0][1]] * 31]]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_packed_row_costs_what_its_documents_cost(bases: dict[str, Path], kind: str) -> None:
    model = opened(bases[kind])
    made = documents(model, [paper.abstract for paper in papers(12)], context=32)
    rows = [[made[position] for position in row] for row in pack(list(map(len, made)), 32)]
    assert max(map(len, rows)) > 1
    batch = Collator(model.pad_id)(rows)
    assert len({sum(map(len, row)) for row in rows}) > 1  # so that some of it is padding
    n_targets = sum(len(document) - 1 for document in made)
    assert int((batch["labels"] != IGNORED).sum()) == n_targets
    with torch.no_grad():
        packed = model.model(**batch, use_cache=False).loss
        alone = [
            model.model(input_ids=torch.tensor([d]), labels=torch.tensor([d]), use_cache=False).loss * (len(d) - 1)
            for d in made
        ]
    assert float(packed) == pytest.approx(float(sum(alone)) / n_targets, rel=1e-5)
    assert attends_within(model.model, n_vocabulary=12)


def test_a_model_that_sees_across_gets_a_row_a_document(bases: dict[str, Path]) -> None:
    model = opened(bases["llama"])
    module = model.model

    class Across(torch.nn.Module):
        """Ignores that positions start again."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def get_input_embeddings(self) -> Any:
            return module.get_input_embeddings()

        def forward(self, input_ids: Any, position_ids: Any = None, **others: Any) -> Any:
            return module(input_ids=input_ids, **others)

    across = dataclasses.replace(model, model=Across())
    assert not attends_within(across.model, n_vocabulary=12)
    material = prepare(across, papers(), options(bases["llama"]))
    assert {len(row) for row in material.rows} == {1}
    assert any("a row of its own" in note for note in material.notes)


# ---- the result -----------------------------------------------------------------------------------------------------


def test_training_lowers_the_perplexity_of_what_was_held_out(full: tuple[Path, TrainingReport]) -> None:
    out, report = full
    measure = report.measures[0]
    assert measure.name == "perplexity"
    assert measure.after < 0.8 * measure.before
    assert measure.difference is not None
    assert measure.difference.high < 0
    assert measure.difference.mean == pytest.approx(measure.after - measure.before)
    kept = [paper.abstract for paper in papers() if _is_held_out(paper.id)]
    assert report.n_validation == len(kept)
    assert perplexity(paper_losses(opened(out), kept)) == pytest.approx(measure.after, rel=1e-5)
    points = [point for point in report.losses if point.validation is not None]
    assert [point.epoch for point in points] == [0.0, 1.0, 2.0]
    assert np.exp(points[0].validation) == pytest.approx(measure.before, rel=1e-5)
    assert np.exp(points[-1].validation) == pytest.approx(measure.after, rel=1e-5)
    found = read_report(out)
    assert found is not None
    assert (found.measures, found.losses, found.identity) == (report.measures, report.losses, report.identity)


def _is_held_out(id: str) -> bool:
    return bool(held_out([id])[0])


def test_the_result_is_an_ordinary_model(full: tuple[Path, TrainingReport]) -> None:
    out, _ = full
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    ids = tokenizer("star gas dust", return_tensors="pt")["input_ids"]
    assert torch.isfinite(model(ids).logits).all()
    assert open_encoder(str(out)).encode(["star gas dust"], role=Role.DOCUMENT).shape == (1, 16)
    assert {path.suffix for path in out.iterdir()} <= {".json", ".safetensors", ".md"}
    assert (out / "generation_config.json").exists()
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1  # whoever may read one may read all


def test_the_card_says_what_it_was_made_of(full: tuple[Path, TrainingReport]) -> None:
    out, report = full
    card = (out / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "llama"
    assert front["library_name"] == "transformers"
    named = model_card(dataclasses.replace(report, base="smollm2"))
    assert 'base_model: "HuggingFaceTB/SmolLM2-135M-Instruct"' in named  # a name that the hub knows
    assert front["pipeline_tag"] == "text-generation"
    assert f"{report.n_train} papers trained on" in card
    assert report.identity["corpus"] in card
    assert str(out.parent.parent) not in card + (out / "training.json").read_text()


def test_the_same_seed_gives_the_same_weights(
    bases: dict[str, Path], full: tuple[Path, TrainingReport], tmp_path: Path
) -> None:
    again = finetune_causal(papers()[::-1], options(bases["llama"]), tmp_path / "out")
    assert again.losses == full[1].losses
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (full[0] / "model.safetensors").read_bytes()


# ---- adapters -------------------------------------------------------------------------------------------------------


def test_a_merged_model_is_the_adapter_on_its_base(
    bases: dict[str, Path], lora: tuple[Path, TrainingReport], tmp_path: Path
) -> None:
    out, report = lora
    assert report.measures[0].after < 0.9 * report.measures[0].before
    adapted = opened(out / "adapter", base=str(bases["llama"]))
    merged = opened(out)
    merge(str(out / "adapter"), tmp_path / "merged", base=str(bases["llama"]))
    again = opened(tmp_path / "merged")
    ids = torch.arange(3, 11)[None]
    with torch.no_grad():
        expected = adapted.model(ids).logits
        torch.testing.assert_close(merged.model(ids).logits, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again.model(ids).logits, expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(opened(bases["llama"]).model(ids).logits, expected, atol=1e-2)


def test_an_adapter_of_another_base(bases: dict[str, Path], lora: tuple[Path, TrainingReport], tmp_path: Path) -> None:
    make_language_model(tmp_path / "other", seed=5)
    with pytest.raises(EncoderError, match="expected the adapter's base"):
        merge(str(lora[0] / "adapter"), tmp_path / "merged", base=str(tmp_path / "other"))
    assert not (tmp_path / "merged").exists()
    with pytest.raises(OptionError, match=r"expected a folder with adapter_config\.json"):
        merge(str(bases["llama"]), tmp_path / "merged")


def test_the_adapter_alone(bases: dict[str, Path], lora: tuple[Path, TrainingReport], tmp_path: Path) -> None:
    out = tmp_path / "out"
    checkpointed = options(bases["llama"], lora=4, merge=False, gradient_checkpointing=True)
    report = finetune_causal(papers(), checkpointed, out)
    assert report.measures[0].after == pytest.approx(lora[1].measures[0].after, rel=1e-4)
    assert not (out / "config.json").exists()
    assert "library_name: peft" in (out / "README.md").read_text()
    assert json.loads((out / "base_model.json").read_text())["name"] == "llama"
    kept = [paper.abstract for paper in papers() if _is_held_out(paper.id)]
    adapted = opened(out, base=str(bases["llama"]))
    assert perplexity(paper_losses(adapted, kept)) == pytest.approx(report.measures[0].after, rel=1e-4)


def test_an_adapter_on_its_base_is_trained_on(bases: dict[str, Path], tmp_path: Path) -> None:
    make_adapter(tmp_path / "adapter", bases["llama"])
    report = finetune_causal(papers(), options(tmp_path / "adapter", epochs=1), tmp_path / "out")
    assert report.measures[0].after < 0.95 * report.measures[0].before


def test_adapters_on_a_gguf(tmp_path: Path) -> None:
    """Which has no configuration beside it: peft would look for that on the hub, and warn."""
    make_gguf(tmp_path / "tiny.gguf", make_language_model(tmp_path / "base"))
    report = finetune_causal(papers(), options(tmp_path / "tiny.gguf", lora=4, epochs=1), tmp_path / "out")
    assert report.notes[0] == "the base was dequantised from tiny.gguf"
    assert any("longer than the base reads at once" in note for note in report.notes)
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()


def test_what_was_shared_out_among_processes_is_put_together(bases: dict[str, Path]) -> None:
    """As with FSDP, of which a CPU has no more than the names."""
    asked = options(bases["llama"], lora=4)
    trained = trainable(opened(bases["llama"]).model, asked)
    for weights in trained.parameters():
        weights.data += 0.01
    trainer = SimpleNamespace(
        is_fsdp_enabled=True,
        is_world_process_zero=lambda: True,
        model_wrapped=trained,
        accelerator=SimpleNamespace(get_state_dict=lambda module: module.state_dict()),
    )
    whole = gathered(trainer, lambda: trainable(opened(bases["llama"]).model, asked))
    ids = torch.arange(3, 11)[None]
    with torch.no_grad():
        assert torch.equal(whole(ids).logits, trained(ids).logits)
    trainer.is_world_process_zero = lambda: False
    assert gathered(trainer, lambda: None) is None


# ---- what cannot be trained -----------------------------------------------------------------------------------------


def test_a_tokenizer_without_eos_and_pad(tmp_path: Path) -> None:
    make_language_model(tmp_path / "base", has_eos=False, adds_bos=False)
    report = finetune_causal(papers(), options(tmp_path / "base", epochs=1), tmp_path / "out")
    assert any("the tokenizer has no EOS" in note for note in report.notes)
    assert report.measures[0].after < report.measures[0].before


def test_three_papers(bases: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected at least 8 papers to train on and 1 to validate on, found"):
        finetune_causal(papers(3), options(bases["llama"]), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_context_beyond_the_model(bases: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected a context of at most the model's 32, found 64"):
        finetune_causal(papers(), options(bases["llama"], context=64), tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "expected epochs above 0, found 0"),
        ({"validation": 0}, "expected validation between 0 and 1, found 0"),
        ({"schedule": "up"}, "expected schedule one of cosine"),
        ({"merge": False}, "expected merge off only beside --lora"),
        ({"context": 1}, "expected context at least"),
        ({"seed": -1}, "expected seed from 0 to below 4294967296, found -1"),
    ],
)
def test_options_outside_of_what_is_possible(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CausalOptions(**settings)
