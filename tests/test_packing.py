"""Packed batches against each text alone, on the CPU, where `varlen_by_hand` stands for the kernel that CUDA has.

Copies beside the computation and real CUDA graphs need a GPU: `python -m benchmarks.gpu`.
"""

import logging

import numpy as np
import pytest
import torch
import torch.utils.flop_counter
from torch.nn.attention import varlen
from transformers import AutoConfig, AutoModel, GPT2Config, GPT2Model, LlamaConfig

from benchmarks import gpu
from embedsearch.encoders import Compute, ModelSpec, Pooling, Role, cuda, packing, transformer
from embedsearch.encoders.batching import batches_of_tokens
from embedsearch.encoders.folder import read_model
from embedsearch.encoders.packing import PackedModel, Shape
from embedsearch.encoders.pooling import pool
from embedsearch.encoders.tokens import TokenRows
from embedsearch.errors import EncoderError

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = [3, 9, 7, 1, 7, 9, 2, 7]
CPU = torch.device("cpu")


def make_module(kind, **options):
    """A tiny model in which attention weighs: with transformers' usual weights it would hardly matter."""
    decoder = {"num_key_value_heads": 2, "sliding_window": 4} if kind in packing.DECODERS else {}
    config = AutoConfig.for_model(
        kind, vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=32, pad_token_id=1, initializer_range=0.5, **(decoder | options),
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModel.from_config(config).eval()


@pytest.fixture(scope="module")
def modules():
    return {kind: make_module(kind) for kind in (*packing.ENCODERS, *packing.DECODERS)}


def make_rows(lengths, seed=0):
    ids = np.random.default_rng(seed).integers(3, 50, sum(lengths)).astype(np.int32)
    return TokenRows(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


@torch.inference_mode()
def one_at_a_time(module, rows, batch, *, pooling=Pooling.MEAN, has_bos=False):
    """(k, h): no packing, no padding, transformers' own attention."""
    vectors = []
    for row in batch:
        ids = torch.from_numpy(rows.ids[rows.offsets[row] : rows.offsets[row + 1]].astype(np.int64))
        hidden = module(input_ids=ids[None], use_cache=False).last_hidden_state
        vectors.append(pool(hidden, torch.tensor([len(ids)]), pooling=pooling, has_bos=has_bos)[0])
    return torch.stack(vectors).numpy()


def varlen_by_hand(q, k, v, starts, key_starts, longest, longest_key, *, scale, window_size, enable_gqa):
    """What torch's kernel computes, in loops; beyond the last text it leaves what was in memory."""
    assert starts.dtype == key_starts.dtype == torch.int32
    assert longest == longest_key >= (starts[1:] - starts[:-1]).max()
    assert enable_gqa
    heads = torch.arange(q.shape[1]) // (q.shape[1] // k.shape[1])
    out = torch.full_like(q, torch.nan)
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        for i in range(start, stop):
            first = start if window_size[0] < 0 else max(start, i - window_size[0])
            last = stop if window_size[1] < 0 else min(stop, i + window_size[1] + 1)
            weights = torch.softmax((k[first:last, heads] * q[i]).sum(2) * scale, 0)
            out[i] = (weights[..., None] * v[first:last, heads]).sum(0)
    return out


@pytest.fixture
def by_hand(monkeypatch):
    monkeypatch.setattr(varlen, "varlen_attn", varlen_by_hand)


def open_packed(module, *, attention=packing.VARLEN, pooling=Pooling.MEAN, has_bos=False):
    return PackedModel(module, attention=attention, pooling=pooling, has_bos=has_bos)


@torch.inference_mode()
def run(model, rows, batch, shape=None):
    lengths = rows.lengths[batch]
    shape = shape or Shape.of(lengths)
    packed = torch.from_numpy(model.pack(rows, batch, shape))
    return model(packed, shape, lengths.tolist())[: len(batch)].numpy()


@pytest.mark.parametrize("attention", [packing.VARLEN, packing.BY_LENGTH])
@pytest.mark.parametrize("kind", [*packing.ENCODERS, *packing.DECODERS])
def test_a_packed_batch_equals_one_text_at_a_time(modules, by_hand, kind, attention):
    module, rows = modules[kind], make_rows(LENGTHS)
    assert PackedModel.takes(module)
    model = open_packed(module, attention=attention)
    for batch in (np.argsort(LENGTHS)[::-1], np.array([3, 1])):
        expected = one_at_a_time(module, rows, batch)
        np.testing.assert_allclose(run(model, rows, batch), expected, rtol=1e-4, atol=1e-5)
    # The comparison would notice a text that sees its neighbour, and positions that run on.
    joined = TokenRows(rows.ids, np.delete(rows.offsets, 3))
    whole = one_at_a_time(module, joined, np.array([2]))
    assert np.abs(run(model, rows, np.array([2])) - whole).max() > 1e-2


@pytest.mark.parametrize("has_bos", [True, False])
@pytest.mark.parametrize("pooling", [Pooling.MEAN_WITHOUT_BOS, Pooling.MEAN, Pooling.CLS, Pooling.LAST_TOKEN])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_pooling_is_that_of_padded_batches(modules, kind, pooling, has_bos):
    module, rows, batch = modules[kind], make_rows(LENGTHS), np.array([0, 3, 1, 2, 6])
    expected = one_at_a_time(module, rows, batch, pooling=pooling, has_bos=has_bos)
    model = open_packed(module, attention=packing.BY_LENGTH, pooling=pooling, has_bos=has_bos)
    np.testing.assert_allclose(run(model, rows, batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", [Pooling.MEAN_WITHOUT_BOS, Pooling.LAST_TOKEN])
@pytest.mark.parametrize("kind", ["roberta", "mistral"])
def test_what_belongs_to_no_text_reaches_none(modules, by_hand, kind, pooling):
    rows, batch = make_rows(LENGTHS), np.array([1, 2, 4, 0, 3])
    model = open_packed(modules[kind], pooling=pooling, has_bos=True)
    exact = run(model, rows, batch)
    larger = run(model, rows, batch, Shape(n_tokens=40, n_texts=8, longest=16))
    np.testing.assert_allclose(larger, exact, rtol=1e-5, atol=1e-6)


def test_a_pass_reads_nothing_back(modules):
    # A meta device has no values: what asks for one (item, nonzero, a copy to the host) fails. The kernel is torch's.
    rows, batch = make_rows(LENGTHS), np.arange(8)
    for kind in ("bert", "qwen3"):
        model = open_packed(make_module(kind).to("meta", torch.bfloat16), pooling=Pooling.MEAN_WITHOUT_BOS)
        shape = packing.Shape.of(rows.lengths)
        vectors = model(torch.from_numpy(model.pack(rows, batch, shape)).to("meta"), shape)
        assert (vectors.shape, vectors.dtype) == ((8, 32), torch.float32)


def test_the_module_keeps_its_own_attention_and_shares_its_weights(modules):
    module = modules["llama"]
    model = open_packed(module)
    assert module.config._attn_implementation == "sdpa"
    assert model._module.embed_tokens.weight.data_ptr() == module.embed_tokens.weight.data_ptr()


def test_other_models_are_not_taken():
    config = GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=8)
    assert not PackedModel.takes(GPT2Model(config).eval())
    assert not PackedModel.takes(make_module("bert", is_decoder=True))
    assert not PackedModel.takes(make_module("llama").train())
    assert not PackedModel.takes(torch.nn.Linear(2, 2).eval())


@pytest.mark.parametrize("budget", [1, 9, 16, 30, 1000])
def test_batches_hold_as_many_tokens_as_fit(budget):
    lengths = np.array(LENGTHS)
    batches = batches_of_tokens(lengths, budget)
    assert sorted(np.concatenate(batches)) == list(range(8))
    taken = [lengths[batch] for batch in batches]
    assert np.concatenate(taken).tolist() == sorted(LENGTHS, reverse=True)
    for batch, after in zip(taken, [*taken[1:], None], strict=True):
        assert len(batch) == 1 or batch.sum() <= budget
        assert after is None or batch.sum() + after[0] > budget


def test_shapes_are_few_and_large_enough():
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.3, 0.4, 4096), 5, 512).astype(np.int64)
    shapes = [Shape.of(lengths[batch]) for batch in batches_of_tokens(lengths, 32768)]
    for shape in [*shapes, Shape(1, 1, 1), Shape(4096, 8, 512), Shape(4097, 9, 513)]:
        common = cuda.rounded(shape)
        assert common.n_tokens >= shape.n_tokens
        assert common.n_texts >= shape.n_texts
        assert common.longest >= shape.longest
        assert cuda.rounded(common) == common
    assert len({cuda.rounded(shape) for shape in shapes}) < len(shapes) / 2
    assert cuda.rounded(Shape(4097, 9, 513)) == Shape(8192, 16, 1024)
    assert cuda.rounded(Shape(5, 1, 5)) == Shape(256, 8, 32)


def record(work):
    """A CUDA graph's way with memory: each replay reads the same input and writes over the same result."""
    result = work()
    return lambda: result.copy_(work()), result


@pytest.fixture
def graphs(modules, by_hand, monkeypatch):
    """An encoder on the CPU that records its passes, and the shapes that it recorded."""
    monkeypatch.setattr(cuda, "has_varlen", lambda module, device: True)
    encoder = cuda.PackedEncoder(modules["llama"], CPU, pooling=Pooling.MEAN_WITHOUT_BOS, has_bos=True)
    made = []

    def counted(work):
        made.append(None)
        return record(work)

    encoder._graphs = cuda.Graphs(encoder._model, counted)
    return encoder, made


@torch.inference_mode()
def test_recorded_passes_serve_all_batches_of_a_shape(graphs, modules):
    encoder, made = graphs
    rows = make_rows(LENGTHS)
    batches = [np.array([1, 2, 0]), np.array([5, 4]), np.array([1, 5, 2, 4, 7]), np.array([3])]
    found = [encoder(rows, batch) for batch in batches]  # all kept, while others are computed
    assert len(made) == 1
    for batch, vectors in zip(batches, found, strict=True):
        expected = one_at_a_time(modules["llama"], rows, batch, pooling=Pooling.MEAN_WITHOUT_BOS, has_bos=True)
        np.testing.assert_allclose(vectors.numpy(), expected, rtol=1e-4, atol=1e-5)
    encoder(make_rows([9] * 9), np.arange(9))  # more texts
    assert len(made) == 2
    encoder.release()
    encoder(rows, batches[0])
    assert len(made) == 3


@torch.inference_mode()
def test_when_all_places_are_taken_passes_run_as_they_are(graphs, modules, monkeypatch):
    encoder, made = graphs
    monkeypatch.setattr(cuda, "MOST_GRAPHS", 1)
    rows, batch = make_rows([9] * 9), np.arange(9)
    encoder(rows, batch[:2])
    vectors = encoder(rows, batch)
    assert len(made) == 1
    expected = one_at_a_time(modules["llama"], rows, batch, pooling=Pooling.MEAN_WITHOUT_BOS, has_bos=True)
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_what_cannot_be_recorded_is_computed(graphs, modules, caplog):
    encoder, _ = graphs
    tries = []

    def refuse(work):
        tries.append(None)
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    encoder._graphs = cuda.Graphs(encoder._model, refuse)
    rows, batch = make_rows(LENGTHS), np.array([1, 2])
    with caplog.at_level(logging.WARNING, logger="embedsearch"):
        vectors = [encoder(rows, batch) for _ in range(2)]
    assert "passes are not recorded, which is slower: operation not permitted when stream is capturing" in caplog.text
    assert len(tries) == 1
    expected = one_at_a_time(modules["llama"], rows, batch, pooling=Pooling.MEAN_WITHOUT_BOS, has_bos=True)
    for found in vectors:
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_out_of_memory_while_recording_is_not_hidden(graphs):
    encoder, _ = graphs

    def full(work):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    encoder._graphs = cuda.Graphs(encoder._model, full)
    with pytest.raises(torch.OutOfMemoryError):
        encoder(make_rows(LENGTHS), np.array([1, 2]))


def test_small_models_of_fixed_steps_are_recorded(modules, monkeypatch):
    assert cuda.can_record(modules["bert"])
    assert cuda.can_record(modules["llama"])
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert not cuda.can_record(make_module("llama", rope_parameters=dynamic))
    monkeypatch.setattr(cuda, "SMALL", 1000)
    assert not cuda.can_record(modules["bert"])


TEXTS = ["star formation in dense gas " * n for n in (3, 1, 12, 7, 1, 12, 5, 2)]


@pytest.fixture(scope="module")
def usual():
    """minilm as it is."""
    return transformer.TransformerEncoder(read_model(ModelSpec()), compute=Compute(device="cpu", dtype="float32"))


@pytest.fixture
def minilm(usual, monkeypatch):
    """minilm packed on the CPU."""
    module = usual._load_module()
    monkeypatch.setattr(transformer, "PACKED_ON", ("cpu",))
    compute = Compute(device="cpu", dtype="float32", token_budget=100)
    return transformer.TransformerEncoder(usual._model, compute=compute, module=module)


def test_the_encoder_packs(minilm, usual):
    assert minilm.made_with["attention"] is None
    found = minilm.encode_counted(TEXTS, role=Role.DOCUMENT)
    assert minilm.made_with["attention"] == packing.BY_LENGTH
    padded = minilm.encode_padded(TEXTS)
    expected = usual.encode_counted(TEXTS, role=Role.DOCUMENT)
    assert (found.vectors * expected.vectors).sum(1).min() > 0.999999
    assert np.array_equal(found.n_tokens, expected.n_tokens)
    assert np.array_equal(padded, usual.encode_padded(TEXTS))


def fail(encoder, *failures):
    """Let the next passes raise these, None for one that works."""
    waiting, model = list(failures), encoder._packed._model

    def failing(*arguments):
        failure = waiting.pop(0) if waiting else None
        if failure is not None:
            raise failure
        return model(*arguments)

    failing.pack, failing.attention = model.pack, model.attention
    encoder._packed._model = failing


def test_out_of_memory_halves_the_budget_of_packed_batches(minilm, caplog):
    minilm._load_module()
    fail(minilm, None, torch.OutOfMemoryError("CUDA out of memory."))
    seen = []
    with caplog.at_level(logging.WARNING, logger="embedsearch"):
        found = minilm.encode_counted(TEXTS, role=Role.DOCUMENT, progress=lambda *done: seen.append(done))
    n_tokens = found.n_tokens.max()
    assert f"starting again with batches of {minilm.made_with['token_budget']} tokens" in caplog.text
    assert minilm.made_with["token_budget"] < 100
    assert np.sum(seen, axis=0).tolist() == [len(TEXTS), found.n_tokens.sum()]
    assert n_tokens > minilm.made_with["token_budget"]
    fail(minilm, *[torch.OutOfMemoryError("CUDA out of memory.")] * 9)
    with pytest.raises(EncoderError, match=rf"one text of {n_tokens} tokens does not fit"):
        minilm.encode(TEXTS, role=Role.DOCUMENT)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_benchmark_runs_without_a_gpu(capsys):
    assert gpu.main(["--quick", "--device", "cpu"]) == 0
    table = capsys.readouterr().out
    assert "| minilm, embedsearch | " in table
    assert "times the peer's best" in table
    assert "of that rate" in table
    assert "vLLM's pooling runner | skipped | needs CUDA |" in table


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_benchmark_says_that_there_is_no_gpu(capsys):
    assert gpu.main([]) == 1
    assert capsys.readouterr().err == "Error: no device 'cuda:0' here: expected auto or one of cpu\n"


def test_operations_are_those_of_the_products():
    config = LlamaConfig(vocab_size=20, **gpu.TINY)
    n = 3
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counted, torch.inference_mode():
        AutoModel.from_config(config, attn_implementation="eager").eval()(torch.ones(1, n, dtype=torch.int64))
    hidden_from_later_tokens = 2 * 2 * 64 * n * n  # which the counter counts as well
    assert counted.get_total_flops() == gpu.operations(config, np.array([n])) + hidden_from_later_tokens
