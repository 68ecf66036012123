import json
import logging
import struct

import pytest
from test_weights import make_folder

from embedsearch.encoders.folder import read_model
from embedsearch.encoders.models import NAMED_MODELS
from embedsearch.encoders.protocol import ModelSpec, Pooling
from embedsearch.errors import EncoderError, OptionError


def write(folder, name, data):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data))


@pytest.fixture
def folder(tmp_path):
    """A sentence-transformers folder: pools by [CLS], cuts at 100, states prompts."""
    folder = make_folder(tmp_path / "model", config={"max_position_embeddings": 200})
    kinds = ["Transformer", "Pooling", "Normalize"]
    paths = ["", "1_Pooling", "2_Normalize"]
    write(
        folder,
        "modules.json",
        [{"path": path, "type": f"sentence_transformers.models.{k}"} for k, path in zip(kinds, paths, strict=True)],
    )
    write(folder, "1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    write(folder, "sentence_bert_config.json", {"max_seq_length": 100, "do_lower_case": True})
    write(folder, "config_sentence_transformers.json", {"prompts": {"query": "query: ", "passage": "passage: "}})
    return folder


def recipe(folder, **options):
    return read_model(ModelSpec(name=str(folder), **options)).recipe


@pytest.mark.parametrize("model", [m for m in NAMED_MODELS.values() if m.package], ids=lambda m: m.name)
def test_a_named_model_is_what_its_table_says(model):
    found = read_model(ModelSpec(name=model.name))
    assert (found.dim, found.recipe.max_tokens, found.recipe.pooling) == (model.dim, model.max_tokens, model.pooling)
    assert found.recipe.weights == model.package.sha256


def test_a_folder_is_read_as_it_was_trained(folder):
    found = read_model(ModelSpec(name=str(folder)))
    assert found.recipe.pooling is Pooling.CLS
    assert (found.recipe.query_prompt, found.recipe.document_prompt) == ("query: ", "passage: ")
    assert (found.recipe.max_tokens, found.dim, found.lower_case) == (100, 4, True)


def test_what_a_user_sets_wins(folder):
    options = {"pooling": Pooling.LAST_TOKEN, "query_prompt": "", "document_prompt": "doc: ", "max_tokens": 150}
    found = recipe(folder, **options)
    assert {name: getattr(found, name) for name in options} == options


@pytest.mark.parametrize("limit", [0, 201])
def test_a_limit_beyond_the_model_is_refused(folder, limit):
    with pytest.raises(OptionError, match=f"from 1 to the model's 200, was {limit}"):
        recipe(folder, max_tokens=limit)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode": "lasttoken"}, Pooling.LAST_TOKEN),
        ({"pooling_mode": ["mean"]}, Pooling.MEAN),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, Pooling.MEAN),
        ({}, Pooling.MEAN),
    ],
)
def test_poolings_old_and_new(folder, pooling, expected):
    write(folder, "1_Pooling/config.json", pooling)
    assert recipe(folder).pooling is expected


@pytest.mark.parametrize(
    ("pooling", "told"),
    [
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, r"cls \+ mean"),
        ({"pooling_mode": "mean", "include_prompt": False}, "mean without the prompt"),
    ],
)
def test_a_pooling_that_is_not_understood_is_refused_unless_another_is_set(folder, pooling, told):
    write(folder, "1_Pooling/config.json", pooling)
    with pytest.raises(EncoderError, match=f"pools by {told}, which is not supported"):
        recipe(folder)
    assert recipe(folder, pooling=Pooling.MEAN).pooling is Pooling.MEAN


def test_a_dense_module_is_refused(folder):
    modules = json.loads((folder / "modules.json").read_text())
    write(folder, "modules.json", [*modules, {"path": "3_Dense", "type": "sentence_transformers.models.Dense"}])
    with pytest.raises(EncoderError, match="has a Dense module, which is not supported"):
        recipe(folder)
    with pytest.raises(EncoderError, match="has a Dense module"):
        recipe(folder, pooling=Pooling.MEAN)


def test_the_default_prompt_stands_for_both_roles(folder):
    write(folder, "config_sentence_transformers.json", {"prompts": {"all": "text: "}, "default_prompt_name": "all"})
    assert (recipe(folder).query_prompt, recipe(folder).document_prompt) == ("text: ", "text: ")


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("LlamaForCausalLM", Pooling.MEAN_WITHOUT_BOS), ("BertForMaskedLM", Pooling.MEAN)],
)
def test_a_plain_folder_is_pooled_as_is_customary(tmp_path, architecture, expected):
    plain = make_folder(tmp_path / "m", config={"architectures": [architecture], "max_position_embeddings": 131072})
    assert recipe(plain).pooling is expected
    assert recipe(plain).max_tokens == 2048
    assert recipe(plain, max_tokens=8000).max_tokens == 8000


def test_positions_that_are_not_for_tokens_do_not_count(tmp_path):
    config = {"model_type": "roberta", "max_position_embeddings": 514}
    assert recipe(make_folder(tmp_path / "m", config=config)).max_tokens == 512


@pytest.mark.parametrize(
    ("config", "message"),
    [({"is_encoder_decoder": True}, "an encoder and a decoder"), ({"hidden_size": None}, "expected hidden_size")],
)
def test_models_that_cannot_be_used(tmp_path, config, message):
    with pytest.raises(EncoderError, match=message):
        recipe(make_folder(tmp_path / "m", config=config))


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_a_damaged_config_is_named(tmp_path, text):
    broken = make_folder(tmp_path / "m")
    (broken / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(EncoderError, match=r"config\.json"):
        recipe(broken)


@pytest.mark.parametrize(
    ("name", "warned"),
    [("e5-small", True), ("bge-base-en", True), ("multilingual-e5", True), ("plain", False), ("the5th", False)],
)
def test_a_family_that_needs_prompts_is_named(tmp_path, caplog, name, warned):
    plain = make_folder(tmp_path / name)
    with caplog.at_level(logging.WARNING, logger="embedsearch"):
        recipe(plain)
    assert ("trained with a prompt" in caplog.text) is warned
    caplog.clear()
    recipe(plain, query_prompt="query: ")
    assert not caplog.records


def gguf(path, *pairs):
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    body = b"".join(
        text(key) + (struct.pack("<I", 8) + text(value) if isinstance(value, str) else struct.pack("<II", 4, value))
        for key, value in pairs
    )
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs)) + body)
    return path


def test_a_gguf_states_its_dimension_and_pooling(tmp_path):
    pairs = [("general.architecture", "llama"), ("llama.embedding_length", 64), ("llama.context_length", 1024)]
    found = read_model(ModelSpec(name=str(gguf(tmp_path / "m.gguf", *pairs))))
    assert (found.dim, found.recipe.max_tokens, found.recipe.pooling) == (64, 1024, Pooling.MEAN_WITHOUT_BOS)
    found = read_model(ModelSpec(name=str(gguf(tmp_path / "n.gguf", *pairs, ("llama.pooling_type", 3)))))
    assert found.recipe.pooling is Pooling.LAST_TOKEN


def test_a_damaged_gguf_is_named(tmp_path):
    whole = gguf(tmp_path / "m.gguf", ("general.architecture", "llama"), ("llama.embedding_length", 64)).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:-3])
    with pytest.raises(EncoderError, match=r"cut\.gguf is cut or damaged"):
        recipe(tmp_path / "cut.gguf")
    (tmp_path / "other.gguf").write_bytes(b"PK" + whole)
    with pytest.raises(EncoderError, match="expected a GGUF file of version 2 or 3"):
        recipe(tmp_path / "other.gguf")
    with pytest.raises(EncoderError, match="expected the architecture"):
        recipe(gguf(tmp_path / "empty.gguf"))
