"""The encoder against transformers and sentence-transformers used plainly, on minilm, smollm2 and tiny LLaMAs."""

import copy
import dataclasses
import json
import logging
import subprocess
import sys
import threading
from importlib.resources import files

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from embedsearch.encoders import Compute, ModelSpec, Pooling, Role, open_encoder
from embedsearch.encoders.cuda import PackedEncoder
from embedsearch.errors import BadVector, EncoderError, MissingExtra, OptionError, RecipeMismatch

pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLE = (files("embedsearch") / "corpus" / "sample.jsonl").read_text(encoding="utf-8").splitlines()
ABSTRACTS = [json.loads(line)["abstract"] for line in SAMPLE[:5]]
LONG = " ".join(ABSTRACTS)
TEXTS = [*ABSTRACTS[:3], "plasma", LONG, "H$\\alpha$ \u03b1 \u2603", "a b " * 40]
COSINE = {"float32": 0.9999, "bfloat16": 0.999}
WORDS = ["star", "gas", "dust", "wave", "disk", "hot", "cold", "old"]


@pytest.fixture(scope="module")
def minilm():
    return {dtype: open_encoder("minilm", compute=Compute(device="cpu", dtype=dtype)) for dtype in COSINE}


@pytest.fixture(scope="module")
def smollm2():
    """Loaded once, since it takes long; the second is a copy of the first."""
    encoders = {dtype: open_encoder("smollm2", compute=Compute(device="cpu", dtype=dtype)) for dtype in COSINE}
    loaded = encoders["float32"]._load_module()
    encoders["bfloat16"]._module = copy.deepcopy(loaded).to(torch.bfloat16)
    encoders["bfloat16"]._tokenizer = encoders["float32"]._load_tokenizer()
    return encoders


def make_llama(folder, *, adds_bos, seed=0):
    """A tiny LLaMA with a head, whose tokenizer puts <s> before texts or does not; it pads with its </s>."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module")
def llamas(tmp_path_factory):
    """(folder, model) by whether the tokenizer adds <s>."""
    made = {}
    for adds_bos in (True, False):
        folder = tmp_path_factory.mktemp("llama")
        made[adds_bos] = (folder, make_llama(folder, adds_bos=adds_bos))
    return made


def open_tiny(folder, *, budget=None, **options):
    compute = Compute(device="cpu", dtype="float32", token_budget=budget)
    return open_encoder(ModelSpec(name=str(folder), **options), compute=compute)


@torch.inference_mode()
def plain(module, ids, *, skip_first=0):
    """The mean of the last hidden states of one text, at unit length: the method in three lines."""
    hidden = module(input_ids=torch.tensor([ids])).last_hidden_state[0, skip_first:].double().mean(0)
    return (hidden / hidden.norm()).numpy()


def cosines(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_minilm_equals_sentence_transformers(minilm):
    from sentence_transformers import SentenceTransformer

    peer = SentenceTransformer(str(minilm["float32"]._model.files.folder), device="cpu")
    peer.max_seq_length = 512
    expected = peer.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(minilm["float32"].encode(TEXTS, role=Role.DOCUMENT), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", COSINE)
def test_minilm_equals_one_text_at_a_time(minilm, dtype):
    folder = minilm[dtype]._model.files.folder
    tokenizer, module = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    ids = tokenizer(TEXTS, truncation=True, max_length=512)["input_ids"]
    expected = [plain(module, row) for row in ids]
    vectors = minilm[dtype].encode(TEXTS, role=Role.DOCUMENT)
    assert vectors.dtype == np.float32
    assert cosines(vectors, expected).min() > COSINE[dtype]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


SHORT = [" ".join(text.split()[:n]) for n, text in zip((40, 3, 25, 1, 60), ABSTRACTS, strict=False)]


@pytest.mark.parametrize("dtype", COSINE)
def test_smollm2_equals_one_text_at_a_time(smollm2, dtype):
    # Its pad is its end of text, <|im_end|>, which is a token like others where a text has it.
    texts = [*SHORT, "a star <|im_end|>", "<|im_end|>"]
    encoder = smollm2["float32"]
    tokenizer, module = encoder._load_tokenizer()._tokenizer, encoder._load_module()
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == tokenizer(texts[-1])["input_ids"][0]
    expected = [plain(module, tokenizer(text)["input_ids"]) for text in texts]
    assert cosines(smollm2[dtype].encode(texts, role=Role.DOCUMENT), expected).min() > COSINE[dtype]


def test_smollm2_in_packed_batches(smollm2):
    # What a GPU runs; on a CPU it is padded.
    encoder = smollm2["float32"]
    pooling, has_bos = encoder.recipe.pooling, encoder._load_tokenizer().has_bos
    packed = PackedEncoder(encoder._load_module(), torch.device("cpu"), pooling=pooling, has_bos=has_bos)
    rows = encoder.prepare(SHORT, role=Role.DOCUMENT).content
    with torch.inference_mode():
        found = packed(rows, np.arange(len(SHORT))).numpy()
    assert cosines(found, encoder.encode(SHORT, role=Role.DOCUMENT)).min() > 0.999999


def test_rotary_positions_keep_their_precision(llamas):
    folder, _ = llamas[True]
    module = open_encoder(str(folder), compute=Compute(device="cpu", dtype="bfloat16"))._load_module()
    assert {part.dtype for part in module.parameters()} == {torch.bfloat16}
    assert module.rotary_emb.inv_freq.dtype == torch.float32


@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_the_padding_side_does_not_matter(name, request):
    encoder = request.getfixturevalue(name)["float32"]
    tokenizer, module = encoder._load_tokenizer()._tokenizer, encoder._load_module()
    ids = [tokenizer.backend_tokenizer.encode(text).ids for text in SHORT]
    width = max(map(len, ids))
    padded = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    with torch.inference_mode():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        hidden = module(input_ids=padded, attention_mask=mask, position_ids=positions).last_hidden_state
    expected = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    assert cosines(encoder.encode(SHORT, role=Role.DOCUMENT), expected.numpy()).min() > 0.999999


@pytest.mark.parametrize(("dtype", "budget"), [("float32", 1), ("float32", 700), ("bfloat16", 700)])
def test_neither_batch_nor_order_matter(minilm, monkeypatch, dtype, budget):
    encoder = minilm[dtype]
    whole = encoder.encode(TEXTS, role=Role.DOCUMENT)
    monkeypatch.setattr(encoder, "_budget", budget)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = encoder.encode([TEXTS[i] for i in order], role=Role.DOCUMENT)
    assert cosines(shuffled, whole[order]).min() > {"float32": 0.999999, "bfloat16": 0.999}[dtype]


def test_the_same_texts_give_the_same_bytes(minilm):
    first, second = (minilm["bfloat16"].encode(TEXTS, role=Role.DOCUMENT) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize("pooling", [None, Pooling.MEAN])
def test_bos_is_left_out_where_the_tokenizer_added_it(llamas, adds_bos, pooling):
    folder, model = llamas[adds_bos]
    texts = ["star gas dust", "hot", "gas gas star old </s> cold"]
    ids = [[1] * adds_bos + [3, 4, 5], [1] * adds_bos + [8], [1] * adds_bos + [4, 4, 3, 10, 2, 9]]
    skip = int(adds_bos and pooling is None)
    expected = [plain(model.model, row, skip_first=skip) for row in ids]
    encoded = open_tiny(folder, pooling=pooling).encode_counted(texts, role=Role.DOCUMENT)
    np.testing.assert_allclose(encoded.vectors, expected, atol=1e-6)
    assert encoded.n_tokens.tolist() == [len(row) for row in ids]


def test_a_tokenizers_word_on_bos_is_not_believed(llamas):
    folder, _ = llamas[True]
    tokenizer = open_tiny(folder)._load_tokenizer()
    tokenizer._tokenizer.add_bos_token = False
    assert tokenizer.has_bos


def test_hidden_states_only(llamas, smollm2):
    folder, _ = llamas[True]
    encoder = open_tiny(folder)
    assert "lm_head.weight" not in dict(encoder._load_module().named_parameters())
    for module in (encoder._load_module(), smollm2["float32"]._load_module()):
        output = module(input_ids=torch.tensor([[3, 4]]))
        assert list(output.keys()) == ["last_hidden_state"]


def test_long_texts_are_cut_counted_and_keep_their_special_tokens(minilm):
    encoder = minilm["float32"]
    prepared = encoder.prepare(["star", LONG, "star " * 510, "star " * 511], role=Role.DOCUMENT)
    assert prepared.truncated.tolist() == [False, True, False, True]
    assert prepared.n_tokens[[0, 2, 3]].tolist() == [3, 512, 513]
    assert prepared.content.lengths.tolist() == [3, 512, 512, 512]
    cut = prepared.content.padded(np.array([3]), 0)[0]
    assert (cut[0], cut[-1]) == (101, 102)  # [CLS], [SEP]
    vectors = encoder.encode_prepared(prepared).vectors
    np.testing.assert_allclose(vectors[2], vectors[3], atol=1e-5)


def test_max_tokens(llamas):
    folder, model = llamas[True]
    encoded = open_tiny(folder, max_tokens=3).encode_counted(["star gas dust hot"], role=Role.QUERY)
    assert (encoded.n_tokens.tolist(), encoded.truncated.tolist()) == ([5], [True])
    np.testing.assert_allclose(encoded.vectors[0], plain(model.model, [1, 3, 4], skip_first=1), atol=1e-6)
    with pytest.raises(OptionError, match="room beside the 1 special tokens, was 1"):
        open_tiny(folder, max_tokens=1).encode(["star"], role=Role.QUERY)


def test_prompts_are_put_before_texts(llamas):
    folder, _ = llamas[True]
    prompted = open_tiny(folder, query_prompt="hot ", document_prompt="cold ")
    bare = open_tiny(folder)
    for role, text in ((Role.QUERY, "hot star"), (Role.DOCUMENT, "cold star")):
        assert np.array_equal(prompted.encode(["star"], role=role), bare.encode([text], role=role))


def test_empty_texts(minilm, llamas):
    assert minilm["float32"].encode([""], role=Role.DOCUMENT).shape == (1, 384)  # [CLS] [SEP]
    assert np.isfinite(open_tiny(llamas[True][0]).encode([""], role=Role.DOCUMENT)).all()  # <s>
    with pytest.raises(BadVector, match="no token at position 1") as caught:
        open_tiny(llamas[False][0]).encode(["star", ""], role=Role.DOCUMENT)
    assert caught.value.position == 1
    assert minilm["float32"].encode([], role=Role.QUERY).shape == (0, 384)


def test_any_string_is_a_text(minilm):
    texts = ["\ud800 lone", "\x00\x01", "\U0001f52d", "e\u0301", "\u202e"]
    assert np.isfinite(minilm["float32"].encode(texts, role=Role.QUERY)).all()


def test_a_vector_of_nan_is_refused_with_its_position(llamas):
    folder, _ = llamas[False]
    encoder = open_tiny(folder)
    with torch.no_grad():
        encoder._load_module().embed_tokens.weight[5] = torch.nan  # dust
    with pytest.raises(BadVector) as caught:
        encoder.encode(["star", "gas gas", "dust", "hot"], role=Role.DOCUMENT)
    assert caught.value.position == 2


def fail(module, *failures):
    """Let the next calls of the module raise these, None for a call that works."""
    forward, waiting = module.forward, list(failures)

    def failing(*args, **options):
        failure = waiting.pop(0) if waiting else None
        if failure is not None:
            raise failure
        return forward(*args, **options)

    module.forward = failing


@pytest.mark.parametrize(
    "failure", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("MPS backend out of memory (9 GB)")]
)
def test_out_of_memory_halves_the_budget_and_starts_again(llamas, caplog, failure):
    folder, _ = llamas[True]
    texts = ["star gas", "hot", "old star dust", "cold"] * 4
    seen = []
    encoder = open_tiny(folder, budget=16)
    fail(encoder._load_module(), None, failure)
    with caplog.at_level(logging.WARNING, logger="embedsearch"):
        encoded = encoder.encode_counted(texts, role=Role.DOCUMENT, progress=lambda *done: seen.append(done))
    assert "starting again with batches of 8 tokens" in caplog.text
    assert encoder.made_with["token_budget"] == 8
    assert np.array_equal(encoded.vectors, open_tiny(folder, budget=8).encode(texts, role=Role.DOCUMENT))
    assert seen[:2] == [(4, 16), (-4, -16)]
    assert np.sum(seen, axis=0).tolist() == [16, encoded.n_tokens.sum()]


def test_one_text_that_does_not_fit_is_an_error(llamas):
    encoder = open_tiny(llamas[True][0], budget=1)
    fail(encoder._load_module(), torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(EncoderError, match="one text of 3 tokens does not fit"):
        encoder.encode(["star gas", "hot"], role=Role.DOCUMENT)


def test_another_failure_is_not_taken_for_it(llamas):
    encoder = open_tiny(llamas[True][0])
    fail(encoder._load_module(), RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        encoder.encode(["star"], role=Role.DOCUMENT)


def test_remote_code_is_not_run(llamas, tmp_path):
    folder, marker = tmp_path / "remote", tmp_path / "was_run"
    make_llama(folder, adds_bos=True)
    (folder / "modeling_own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoModel": "modeling_own.Own", "AutoConfig": "modeling_own.OwnConfig"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": auto}))
    with pytest.raises(EncoderError, match="run only with trust_remote_code"):
        open_tiny(folder).encode(["star"], role=Role.DOCUMENT)
    assert not marker.exists()


def test_weights_that_are_missing_are_not_made_up(tmp_path):
    make_llama(tmp_path / "short", adds_bos=True)
    config = json.loads((tmp_path / "short" / "config.json").read_text())
    (tmp_path / "short" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(EncoderError, match=r"lacks \d+ of its weights, such as layers\.2\."):
        open_tiny(tmp_path / "short").encode(["star"], role=Role.DOCUMENT)


def test_a_damaged_weight_file_is_named(tmp_path):
    make_llama(tmp_path / "cut", adds_bos=True)
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(EncoderError, match=r"cannot load .*cut"):
        open_tiny(tmp_path / "cut").encode(["star"], role=Role.DOCUMENT)


def test_another_recipe_than_the_expected_is_refused(llamas, minilm):
    expected = dataclasses.replace(minilm["float32"].recipe, max_tokens=256)
    with pytest.raises(RecipeMismatch, match="found another: max_tokens 256 against 512"):
        open_encoder("minilm", expected=expected)
    assert open_encoder("minilm", expected=minilm["float32"].recipe).recipe == minilm["bfloat16"].recipe


def test_a_gguf_without_its_packages_names_the_extra(monkeypatch):
    monkeypatch.setattr("embedsearch.encoders.folder.importlib.util.find_spec", lambda name: None)
    from embedsearch.encoders.folder import read_model
    from embedsearch.encoders.transformer import TransformerEncoder

    monkeypatch.undo()
    found = read_model(ModelSpec(name="smollm2"))
    monkeypatch.setattr("embedsearch.encoders.folder.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"smollm2 is a GGUF.*pip install 'embedsearch\[gguf\]'"):
        TransformerEncoder(found)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(OptionError, match="at least 1, was 0"):
        open_encoder("minilm", compute=Compute(token_budget=0))


def test_what_made_the_vectors_is_noted(minilm):
    minilm["bfloat16"].encode(["star"], role=Role.QUERY)
    noted = json.loads(json.dumps(dict(minilm["bfloat16"].made_with)))
    assert (noted["device"], noted["dtype"], noted["token_budget"]) == ("cpu", "bfloat16", 4096)
    own = minilm["bfloat16"]._bert
    assert noted["attention"] == (own.attention if own else "sdpa")
    assert {"torch", "transformers", "python", "embedsearch"} <= noted.keys()


def test_threads_may_share_it(llamas):
    encoder = open_tiny(llamas[True][0])
    texts = [f"{a} {b}" for a in WORDS for b in WORDS]
    expected = open_tiny(llamas[True][0]).encode(texts, role=Role.DOCUMENT)
    results = {}
    threads = [
        threading.Thread(target=lambda i=i: results.update({i: encoder.encode(texts, role=Role.DOCUMENT)}))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(results[i], expected) for i in range(4))


def test_it_says_nothing_and_leaves_transformers_as_it_was(llamas):
    code = (
        "import sys; from transformers.utils import logging; logging.set_verbosity_info();"
        "from embedsearch.encoders import *; e = open_encoder(sys.argv[1]);"
        "e.encode(['star ' * 2000], role=Role.QUERY);"
        "assert logging.get_verbosity() == 20 and logging.is_progress_bar_enabled()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(llamas[True][0])], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
