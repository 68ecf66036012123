"""A plain BERT read from its files against the same files read by transformers."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertModel
from transformers import BertTokenizer as TheirTokenizer

from embedsearch.encoders import Compute, ModelSpec, Role, open_encoder
from embedsearch.encoders.bert_cpu import BertOnCpu
from embedsearch.encoders.bert_files import read_bert, read_tokenizer
from embedsearch.encoders.folder import read_model
from embedsearch.encoders.loading import load_model
from embedsearch.encoders.tokens import Tokenizer
from embedsearch.errors import BadVector, EncoderError

SAMPLE = (files("embedsearch") / "corpus" / "sample.jsonl").read_text(encoding="utf-8").splitlines()
ODD = [
    "", " \n", "\U0001f52d \u2603", "\x00\x07 \x7f", "\ud800", "\u00e9 e\u0301 \u00df \u0130 \ufb01", "[CLS]",
    "[CLS]star[SEP] [MASK][PAD] [UNK] [cls]", "\u661f\u7cfb\u306e", "\u202e\u200b\u00a0\ufeff", "a" * 101,
    "star " * 600, "[SEP]" * 600, "caf\u00e9 " * 600,
]  # fmt: skip
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "star", "##s", "Star", "e", "\u00e9", "\u661f", "gas"]
SHAPE = {
    "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 30,
}  # fmt: skip

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not BertOnCpu.multiplies(torch.float32), reason="torch was built without oneDNN"),
]


def save(folder, kind=BertModel) -> Path:
    torch.manual_seed(5)
    kind(BertConfig(**SHAPE)).save_pretrained(folder)
    TheirTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A small BERT as transformers saves it."""
    return save(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def bert(saved, tmp_path) -> Path:
    """A copy to change."""
    return shutil.copytree(saved, tmp_path / "bert")


def found(folder):
    return read_model(ModelSpec(name=str(folder)))


def change(path, **settings):
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))


def encode(folder, texts=("star gas",)):
    compute = Compute(device="cpu", dtype="float32")
    return open_encoder(ModelSpec(name=str(folder)), compute=compute).encode(list(texts), role=Role.QUERY)


@pytest.mark.parametrize("max_tokens", [512, 40])
def test_minilms_tokens_are_those_of_transformers(max_tokens):
    model = read_model(ModelSpec())
    ours = read_tokenizer(model)
    assert ours is not None
    theirs = AutoTokenizer.from_pretrained(model.files.folder)
    texts = [*(json.loads(line)["abstract"] for line in SAMPLE), *ODD]
    (rows, counts), (expected, expected_counts) = (
        Tokenizer(tokenizer, max_tokens=max_tokens)(texts) for tokenizer in (ours, theirs)
    )
    assert rows.ids.tobytes() == expected.ids.tobytes()
    assert rows.offsets.tobytes() == expected.offsets.tobytes()
    assert (counts == expected_counts).all()
    assert (counts > max_tokens).any()


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])  # the second puts "bert." before the names
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_pass_is_that_of_the_loaded_module(tmp_path, dtype, kind):
    if not BertOnCpu.multiplies(dtype):
        pytest.skip("oneDNN has no bfloat16 on this processor")
    model = found(save(tmp_path, kind))
    ours = read_bert(model, dtype)
    assert ours is not None
    module = load_model(model, device=torch.device("cpu"), dtype=dtype)
    ids, lengths = torch.randint(len(WORDS), (3, 9)), [9, 4, 4]
    with torch.inference_mode():
        assert torch.equal(ours(ids, lengths), BertOnCpu.of(module)(ids, lengths))


def test_an_encoder_reads_it_without_the_module(saved, monkeypatch):
    model = found(saved)
    assert read_tokenizer(model) is not None
    expected = encode(saved)
    monkeypatch.setattr("embedsearch.encoders.loading.load_model", None)
    monkeypatch.setattr("embedsearch.encoders.loading.load_tokenizer", None)
    assert (encode(saved) == expected).all()
    monkeypatch.undo()
    monkeypatch.setattr("embedsearch.encoders.transformer.read_bert", lambda model, dtype: None)
    assert (encode(saved) == expected).all()


TOKENS = {
    "cased": ("tokenizer_config.json", {"do_lower_case": False}),
    "accents": ("tokenizer_config.json", {"strip_accents": False}),
    "Chinese": ("tokenizer_config.json", {"tokenize_chinese_chars": False}),
    "another mask": ("tokenizer_config.json", {"mask_token": "gas"}),
    "a [BOS]": ("tokenizer_config.json", {"bos_token": "[CLS]"}),
    "cut on the left": ("tokenizer_config.json", {"truncation_side": "left"}),
    "another class": ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}),
    "a key of tomorrow": ("tokenizer_config.json", {"fold_greek": True}),
    "more special tokens": ("special_tokens_map.json", {"additional_special_tokens": ["gas"]}),
    "added tokens": ("added_tokens.json", {"gas": 11}),
    "another normalizer": ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}),
    "no normalizer": ("tokenizer.json", {"normalizer": None}),
    "no special tokens": ("tokenizer.json", {"post_processor": None}),
    "fewer added tokens": ("tokenizer.json", {"added_tokens": []}),
    "damaged": ("tokenizer.json", {"model": "none"}),
    "another architecture": ("config.json", {"model_type": "roberta"}),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_tokenizer_that_states_something_else_is_left_to_transformers(bert, name):
    assert read_tokenizer(found(bert)) is not None
    file, settings = TOKENS[name]
    change(bert / file, **settings)
    assert read_tokenizer(found(bert)) is None


def test_a_cased_tokenizer_equals_that_of_transformers(bert):
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    TheirTokenizer(vocab=vocabulary, do_lower_case=False, tokenize_chinese_chars=False).save_pretrained(bert)
    change(bert / "special_tokens_map.json", cls_token={"content": "[CLS]", "lstrip": False, "rstrip": False,
                                                        "single_word": False, "normalized": False})  # fmt: skip
    ours, theirs = read_tokenizer(found(bert)), AutoTokenizer.from_pretrained(bert)
    texts = ["Star star stars", "\u00e9 e", "\u661f\u661f", "\u661f gas", "[CLS] [cls]"]
    assert ours(texts, max_length=30)["input_ids"] == theirs(texts)["input_ids"]
    assert len({*map(tuple, theirs(texts)["input_ids"])}) == len(texts)


CONFIGS = [
    {"hidden_act": "gelu_new"}, {"is_decoder": True}, {"position_embedding_type": "relative_key"}, {"hidden_act": None},
    {"layer_norm_eps": None}, {"num_attention_heads": None}, {"num_attention_heads": 3}, {"num_hidden_layers": 3},
    {"intermediate_size": 31}, {"auto_map": {"AutoModel": "own.Own"}}, {"quantization_config": {"bits": 8}},
]  # fmt: skip


@pytest.mark.parametrize("settings", CONFIGS, ids=str)
def test_a_config_of_something_else_is_left_to_transformers(bert, settings):
    assert read_bert(found(bert), torch.float32) is not None
    change(bert / "config.json", **settings)
    assert read_bert(found(bert), torch.float32) is None


def damage(folder, kind):
    path = folder / "model.safetensors"
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-100])
        return
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("encoder.layer.1.output.dense.weight"))
    changed = {"lacking": None, "of another shape": weights[name][:, :-1].contiguous(), "packed": weights[name].char()}
    weights |= {name: changed[kind]}
    save_file({name: weight for name, weight in weights.items() if weight is not None}, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "message"),
    [("cut", "cannot load"), ("lacking", r"lacks 1 of its weights, such as encoder\.layer\.1\.output\.dense\.weight"),
     ("of another shape", "cannot load")],
)  # fmt: skip
def test_damaged_weights_are_named_by_transformers(bert, kind, message):
    damage(bert, kind)
    assert read_bert(found(bert), torch.float32) is None
    with pytest.raises(EncoderError, match=message) as caught:
        encode(bert)
    assert "\n" not in str(caught.value)


def test_packed_weights_are_left_to_transformers(bert):
    damage(bert, "packed")
    assert read_bert(found(bert), torch.float32) is None


def test_a_weight_of_nan_is_refused_with_the_position(bert):
    path = bert / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("embeddings.word_embeddings.weight"))
    weights[name][WORDS.index("gas")] = torch.nan
    save_file(weights, path, {"format": "pt"})
    assert read_bert(found(bert), torch.float32) is not None
    with pytest.raises(BadVector, match="position 1"):
        encode(bert, ["star", "gas"])
