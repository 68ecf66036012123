"""Language models by name: what they are, what is refused, adapters on their base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.errors
import pytest
import torch
from tiny_language_models import CONTEXT, make_adapter, make_gguf, make_language_model
from transformers import BertConfig, BertForMaskedLM, BertModel, LlamaModel

from embedsearch.encoders import Compute
from embedsearch.encoders.models import CAUSAL_MAX_TOKENS
from embedsearch.errors import EncoderError, MissingExtra, ModelNotFound, OptionError
from embedsearch.language.adapters import BASE, describe_base
from embedsearch.language.language_model import open_language_model
from embedsearch.language.perplexity import paper_losses

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = Compute(device="cpu", dtype="float32")
IDS = torch.tensor([[1, 3, 4, 5, 3]])


def opened(name: Path | str, **options: Any) -> Any:
    return open_language_model(str(name), compute=CPU, **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """llama, llama without BOS, gpt2, another llama, a deeper one, an adapter of the first."""
    home = tmp_path_factory.mktemp("models")
    make_language_model(home / "llama")
    make_language_model(home / "plain", adds_bos=False, has_eos=False)
    make_language_model(home / "gpt2", kind="gpt2")
    make_language_model(home / "other", seed=5)
    make_language_model(home / "small", n_layers=1)
    make_adapter(home / "adapter", home / "llama")
    return home


def test_what_is_known_of_a_model(home: Path) -> None:
    model = opened(home / "llama")
    assert (model.bos_id, model.eos_id, model.pad_id, model.max_tokens) == (1, 2, 2, CONTEXT)
    assert model.name == str(home / "llama")
    assert model.dtype == torch.float32
    assert not model.model.training
    assert not model.model.config.use_cache
    assert model.files.weights == ("model.safetensors",)
    assert model.adapter is None
    assert model.note == ""


def test_a_tokenizer_without_end_or_padding(home: Path) -> None:
    model = opened(home / "plain")
    assert (model.bos_id, model.eos_id, model.pad_id) == (None, None, 0)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_it_gives_the_logits_of_the_saved_model(home: Path, kind: str, tmp_path: Path) -> None:
    saved = make_language_model(tmp_path / kind, kind=kind, seed=3)
    torch.testing.assert_close(opened(tmp_path / kind).model(IDS).logits, saved(IDS).logits)


def test_dtype_goes_before_that_of_compute(home: Path) -> None:
    assert opened(home / "gpt2", dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(OptionError, match="no dtype 'int3'"):
        opened(home / "gpt2", dtype="int3")


def test_a_long_context_is_bounded(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "llama", tmp_path / "long")
    config = json.loads((tmp_path / "long" / "config.json").read_text())
    (tmp_path / "long" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 131_072}))
    assert opened(tmp_path / "long").max_tokens == CAUSAL_MAX_TOKENS


def test_a_head_that_is_tied_needs_no_weights_of_its_own(home: Path, tmp_path: Path) -> None:
    """What sentence-transformers saves of a causal model has no head; with tied embeddings none is lost."""
    saved = make_language_model(tmp_path / "tied")
    bare: LlamaModel = saved.model
    bare.config.tie_word_embeddings = True
    bare.save_pretrained(tmp_path / "tied")
    expected = saved.model(IDS).last_hidden_state @ saved.get_input_embeddings().weight.T
    torch.testing.assert_close(opened(tmp_path / "tied").model(IDS).logits, expected)


def test_a_model_without_its_head_is_refused(home: Path, tmp_path: Path) -> None:
    make_language_model(tmp_path / "bare").model.save_pretrained(tmp_path / "bare")
    with pytest.raises(EncoderError, match=r"lacks 1 of its weights, such as lm_head\.weight"):
        opened(tmp_path / "bare")


@pytest.mark.parametrize("architecture", [BertModel, BertForMaskedLM])
def test_an_encoder_is_refused(home: Path, tmp_path: Path, architecture: Any) -> None:
    shutil.copytree(home / "llama", tmp_path / "bert")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    architecture(BertConfig(vocab_size=12, **sizes)).save_pretrained(tmp_path / "bert")
    with pytest.raises(EncoderError, match=r"expected a language model, found .* an encoder .*smollm2"):
        opened(tmp_path / "bert")


def test_minilm_and_services_are_refused() -> None:
    with pytest.raises(EncoderError, match=r"found minilm, an encoder \(BertModel\)"):
        opened("minilm")
    with pytest.raises(EncoderError, match="openai:gpt-9 is a service"):
        opened("openai:gpt-9")
    with pytest.raises(ModelNotFound, match="no model 'nosuch'"):
        opened("nosuch")


def test_a_vocabulary_smaller_than_the_tokenizers(tmp_path: Path) -> None:
    make_language_model(tmp_path / "few", n_rows=7)
    with pytest.raises(EncoderError, match=r"expected a tokenizer of at most the 7 tokens .* found 12"):
        opened(tmp_path / "few")


def test_a_gguf_is_dequantised(tmp_path: Path) -> None:
    saved = make_language_model(tmp_path / "llama")
    for weights in saved.parameters():  # and not its buffers, which would be of other positions
        weights.data = weights.data.half().float()
    make_gguf(tmp_path / "tiny.gguf", saved)
    model = opened(tmp_path / "tiny.gguf")
    torch.testing.assert_close(model.model(IDS).logits, saved(IDS).logits)
    assert model.note == "dequantised from tiny.gguf"
    assert model.bos_id is None
    losses = paper_losses(model, ["star"])  # st a r
    expected = saved(torch.tensor([[10, 5, 6]]), labels=torch.tensor([[10, 5, 6]])).loss * 2
    assert (losses.n_tokens[0], losses.n_bytes[0]) == (2, 2)
    assert losses.nats[0] == pytest.approx(float(expected.detach()), abs=1e-5)


def test_tokens_that_were_added_without_an_embedding(home: Path, tmp_path: Path) -> None:
    """LLaMA with a [PAD] of its own is common: no text holds it, and padding may be any token."""
    shutil.copytree(home / "llama", tmp_path / "padded")
    tokenizer = opened(home / "llama").tokenizer
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(tmp_path / "padded")
    model = opened(tmp_path / "padded")
    assert (model.tokenizer.pad_token_id, model.pad_id) == (12, 2)
    paper_losses(model, ["star gas", "star"])
    with pytest.raises(EncoderError, match=r"embeddings of, 12, found number 12 \('\[PAD\]'\)"):
        paper_losses(model, ["star [PAD] gas"])


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache with an adapter of the first model in it, org/adapter."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--org--adapter"
    shutil.copytree(home / "adapter", folder / "snapshots" / ("0" * 40))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    return folder / "snapshots" / ("0" * 40)


def test_an_adapter_in_the_hubs_cache(home: Path, hub: Path) -> None:
    model = opened("org/adapter")
    assert model.adapter.from_hub
    torch.testing.assert_close(model.model(IDS).logits, opened(home / "adapter").model(IDS).logits)
    with pytest.raises(ModelNotFound, match="no model 'org/nothing'"):
        opened("org/nothing")


def test_an_adapter_is_fetched_from_the_hub(home: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []

    def snapshot(name: str, *, revision: str | None, local_files_only: bool = False, **_: Any) -> str:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        asked.append((name, revision))
        return str(hub)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: "adapter_config.json")
    assert opened("org/other", revision="v1").adapter.folder == hub
    assert asked == [("org/other", "v1")]


@pytest.mark.parametrize("merged", [False, True])
def test_an_adapter_on_its_base(home: Path, tmp_path: Path, merged: bool) -> None:
    tuned = make_adapter(tmp_path / "adapter", home / "llama", seed=2)
    model = opened(tmp_path / "adapter", merged=merged)
    torch.testing.assert_close(model.model(IDS).logits, tuned(IDS).logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model.model(IDS).logits, opened(home / "llama").model(IDS).logits, atol=0.1)
    assert model.files.folder == home / "llama"
    assert model.adapter.weights_sha256 != model.files.weights_sha256
    assert any("lora" in name for name, _ in model.model.named_parameters()) is not merged


def test_a_base_that_has_moved_is_named(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "llama", tmp_path / "base")
    tuned = make_adapter(tmp_path / "adapter", tmp_path / "base")
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(ModelNotFound, match=r"needs its base model .*base.* say where it is with --base"):
        opened(tmp_path / "adapter")
    model = opened(tmp_path / "adapter", base=str(tmp_path / "moved"))
    torch.testing.assert_close(model.model(IDS).logits, tuned(IDS).logits, atol=1e-5, rtol=1e-5)


def test_a_base_of_other_shapes_is_refused(home: Path) -> None:
    with pytest.raises(EncoderError, match=r"base with a layer model\.layers\.1\..* found no such layer"):
        opened(home / "adapter", base=str(home / "small"))
    with pytest.raises(EncoderError, match="expected a base with a layer"):
        opened(home / "adapter", base=str(home / "gpt2"))


def test_a_base_of_other_weights_is_refused_where_the_adapter_says_which(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "adapter", tmp_path / "adapter")
    noted = describe_base(str(home / "llama"), opened(home / "llama").files)
    (tmp_path / "adapter" / BASE).write_text(json.dumps(noted))
    assert opened(tmp_path / "adapter").adapter.base_weights == noted["weights"]
    (tmp_path / "adapter" / BASE).write_text(json.dumps(noted | {"weights": 5}))
    with pytest.raises(EncoderError, match="expected the adapter's base, weights 5"):
        opened(tmp_path / "adapter")
    (tmp_path / "adapter" / BASE).write_text(json.dumps(noted))
    with pytest.raises(EncoderError, match=r"expected the adapter's base, weights .*…, found .*other with"):
        opened(tmp_path / "adapter", base=str(home / "other"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "expected a LoRA adapter in .* found IA3"),
        ({"base_model_name_or_path": None}, "does not say which model it is for"),
        ({"target_modules": ["nothing"]}, "cannot put the adapter"),
        (
            {"target_modules": ["q_proj"]},
            r"expected weights in .*differ in 2, such as model\.layers\.0\.mlp\.down_proj",
        ),
        ({"target_modules": ["q_proj", "down_proj", "v_proj"]}, r"differ in 2, such as .*v_proj"),
    ],
)
def test_adapters_that_cannot_be_used(home: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    shutil.copytree(home / "adapter", tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EncoderError, match=message):
        opened(tmp_path / "adapter")


def test_pickled_and_broken_weights_of_an_adapter_are_refused(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "adapter", tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(EncoderError, match="cannot read the adapter's weights"):
        opened(tmp_path / "adapter")
    weights.rename(weights.with_name("adapter_model.bin"))
    with pytest.raises(
        EncoderError, match=r"expected the adapter's weights in .*safetensors, found no such file: .*pickled"
    ):
        opened(tmp_path / "adapter")


def test_without_peft(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'embedsearch\[train\]'"):
        opened(home / "adapter")
