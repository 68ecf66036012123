"""The CPU's own pass of BERT against transformers' module, which it stands in for."""

import json
from importlib.resources import files

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from embedsearch.encoders import Compute, Role, open_encoder
from embedsearch.encoders.bert_cpu import BertOnCpu, _groups
from embedsearch.encoders.lanes import LEAST_IN_A_LANE
from embedsearch.encoders.pooling import mask_from_lengths

SAMPLE = (files("embedsearch") / "corpus" / "sample.jsonl").read_text(encoding="utf-8").splitlines()
ABSTRACTS = [json.loads(line)["abstract"] for line in SAMPLE[:6]]
TEXTS = [*ABSTRACTS, "plasma", "dust", "?", "", "H$\\alpha$ \u2603", " ".join(ABSTRACTS), "a b " * 400]
LOSS = {"float32": 1e-6, "bfloat16": 1e-3}
"""Of a vector's cosine to that of the same text, as `transformer` states it."""

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@pytest.fixture(scope="module", params=LOSS)
def minilm(request):
    if request.param == "bfloat16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN has no bfloat16 on this processor")
    return open_encoder("minilm", compute=Compute(device="cpu", dtype=request.param))


def tiny(**settings):
    shape = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertModel(BertConfig(**shape, intermediate_size=32, max_position_embeddings=30, **settings)).eval()


def loss(vectors, reference):
    vectors, reference = (part.astype(np.float64) for part in (vectors, reference))
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    return 1 - (vectors * reference).sum(1) / norms


def by_the_module(encoder, texts, monkeypatch):
    encoder._load_module()
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "_bert", None)
        return encoder.encode(texts, role=Role.DOCUMENT)


def test_it_is_used_for_minilm(minilm):
    minilm._load_module()
    assert minilm._bert is not None
    assert minilm.made_with["attention"] == BertOnCpu.attention


def test_a_batch_equals_the_module(minilm, monkeypatch):
    vectors = minilm.encode(TEXTS, role=Role.DOCUMENT)
    assert loss(vectors, by_the_module(minilm, TEXTS, monkeypatch)).max() < LOSS[minilm.made_with["dtype"]]


@pytest.mark.parametrize("text", ["", "dust", ABSTRACTS[0], "a b " * 400])
def test_a_single_text_equals_the_module_and_its_batch(minilm, text, monkeypatch):
    alone = minilm.encode([text], role=Role.DOCUMENT)
    beside = minilm.encode([*TEXTS, text], role=Role.DOCUMENT)[-1:]
    most = LOSS[minilm.made_with["dtype"]]
    assert loss(alone, by_the_module(minilm, [text], monkeypatch)).max() < most
    assert loss(alone, beside).max() < most


def test_equal_batches_give_equal_bytes_with_one_thread_and_with_two(minilm):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = minilm.encode(TEXTS, role=Role.DOCUMENT)
        torch.set_num_threads(2)
        two = minilm.encode(TEXTS, role=Role.DOCUMENT)
    finally:
        torch.set_num_threads(before)
    assert one.tobytes() == two.tobytes()


def test_lanes_change_neither_bytes_nor_what_is_reported():
    encoder = open_encoder("minilm", compute=Compute(device="cpu", dtype="float32", token_budget=200))
    prepared = encoder.prepare([*TEXTS[:4], *["dust and gas"] * 60, *ABSTRACTS], role=Role.DOCUMENT)
    assert len(prepared.content.batches(200)) >= 2 * LEAST_IN_A_LANE

    def run():
        told = []
        return encoder.encode_prepared(prepared, progress=lambda *done: told.append(done)).vectors.tobytes(), told

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        in_two = run()
        torch.set_num_threads(1)
        assert run() == in_two
    finally:
        torch.set_num_threads(before)


def test_each_token_of_a_small_bert_equals_the_module():
    torch.manual_seed(3)
    module = tiny()
    lengths = [9, 4, 4, 4, 1]
    ids = torch.randint(40, (5, 9))
    mask = mask_from_lengths(torch.tensor(lengths), 9)
    with torch.inference_mode():
        hidden = BertOnCpu.of(module)(ids, lengths)
        expected = module(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(hidden[mask], expected[mask], atol=1e-5, rtol=0)
    assert not hidden[~mask].any()


@pytest.mark.parametrize(
    "settings", [{"hidden_act": "gelu_new"}, {"is_decoder": True}, {"is_decoder": True, "add_cross_attention": True}]
)
def test_it_takes_no_bert_that_computes_otherwise(settings):
    assert BertOnCpu.takes(tiny())
    assert not BertOnCpu.takes(tiny(**settings))


def test_it_takes_no_module_of_another_class_dtype_or_mode():
    class Other(BertModel):
        pass

    assert not BertOnCpu.takes(Other(tiny().config).eval())
    assert not BertOnCpu.takes(tiny().to(torch.float16))
    assert not BertOnCpu.takes(tiny().train())


def test_neighbours_of_equal_length_are_grouped_up_to_a_number_of_tokens():
    assert list(_groups([2000, 500, 500, 500, 3, 3, 1])) == [(1, 2000), (2, 500), (1, 500), (2, 3), (1, 1)]
