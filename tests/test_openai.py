"""The encoder that asks a service, against a server in this process."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from embedding_server import DIM, EmbeddingServer, expected, serving

from embedsearch.encoders import Compute, ModelSpec, Pooling, Role, open_encoder
from embedsearch.encoders.models import ADA_002
from embedsearch.encoders.openai import ServiceEncoder
from embedsearch.encoders.services import estimate, find_address, find_key
from embedsearch.errors import BadVector, EmbedsearchError, EncoderError, MissingExtra, OptionError

KEY = "sk-proj-0123456789abcdefghijklmnop"
TEXTS = ["star star gas", "dust", "no word of theirs", "a plasma wave"]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key, no proxy on the way to this machine, no file of tiktoken's, and a client that waits for no long."""
    import openai._base_client as client

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(client, "INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr(client, "MAX_RETRY_DELAY", 0.002)


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with serving() as server:
        yield server


def make(server: EmbeddingServer, name: str = "openai:fake", **compute: int) -> ServiceEncoder:
    encoder = open_encoder(ModelSpec(name=name, base_url=server.url), compute=Compute(**compute))
    assert isinstance(encoder, ServiceEncoder)
    return encoder


def fails(server: EmbeddingServer, misdeed: str, error: type[EmbedsearchError] = EncoderError) -> str:
    """One line, and no key in it or in the traceback, when every answer is a misdeed."""
    server.misbehave = lambda n, texts: misdeed
    with pytest.raises(error) as caught:
        make(server).encode(TEXTS, role=Role.DOCUMENT)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY[:8] not in shown
    assert KEY[-4:] not in shown
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_texts_become_unit_vectors_in_their_order(server: EmbeddingServer) -> None:
    encoder = make(server)
    assert encoder.recipe.pooling is Pooling.SERVICE
    assert not server.requests
    np.testing.assert_allclose(encoder.encode(TEXTS, role=Role.DOCUMENT), expected(TEXTS), atol=1e-7)
    assert server.keys == [f"Bearer {KEY}"]
    assert server.requests[0]["encoding_format"] == "base64"
    assert encoder.made_with["model"] == "fake-v2"
    assert encoder.dim == DIM
    assert len(server.requests) == 1  # the dimension is known from the first answer


@pytest.mark.parametrize("misdeed", ["shuffled", "floats"])
def test_what_a_server_may_do(server: EmbeddingServer, misdeed: str) -> None:
    server.misbehave = lambda n, texts: misdeed
    np.testing.assert_allclose(make(server).encode(TEXTS, role=Role.QUERY), expected(TEXTS), atol=1e-7)


@pytest.mark.parametrize(
    ("misdeed", "message"),
    [
        ("401", r"to take the key in OPENAI_API_KEY, found that it is refused \(401\)"),
        ("404", r"model 'fake' at http.*found none such \(404: The model fake does not exist\)"),
        ("413", "found 413: batch size 64 > maximum allowed batch size 32: --max-tokens .* --token-budget"),
        ("500", "found only 500: It broke. .*: the same command goes on"),
        ("cut", r"expected an answer from http.*found none \(RemoteProtocolError\)"),
        ("no json", "expected embeddings as JSON from 127.*found 43 bytes of another thing"),
        ("half json", "expected embeddings as JSON"),
        ("other json", "expected embeddings as JSON.*data"),
        ("too few", "expected vectors 0 to 3 from .*found 3: 0, 1, 2;"),
        ("twice", "expected vectors 0 to 3 from .*found 4: 1, 1, 2, 3;"),
        ("short", "expected vectors of 8 numbers from .*found one of 2: does it serve another model"),
        ("not base64", "expected base64 of float32"),
        ("odd base64", "expected base64 of float32"),
    ],
)
def test_what_it_may_not_do(server: EmbeddingServer, misdeed: str, message: str) -> None:
    import re

    said = fails(server, misdeed)
    assert re.search(message, said), said


@pytest.mark.parametrize("misdeed", ["nan", "infinite", "zero"])
def test_a_bad_vector_names_its_text(server: EmbeddingServer, misdeed: str) -> None:
    server.misbehave = lambda n, texts: misdeed if "dust" in texts else None
    with pytest.raises(BadVector, match=r"found (a value that is not finite|length zero) at position 6") as caught:
        make(server, token_budget=20, concurrency=1).encode([*["gas " * 10] * 5, "a", "dust"], role=Role.DOCUMENT)
    assert caught.value.position == 6


@pytest.mark.parametrize("misdeed", ["500", "cut", "429"])
def test_what_passes_is_tried_again(server: EmbeddingServer, misdeed: str) -> None:
    server.misbehave = lambda n, texts: misdeed if n < 1 else None
    start = time.monotonic()
    np.testing.assert_allclose(make(server).encode(TEXTS, role=Role.QUERY), expected(TEXTS), atol=1e-7)
    assert len(server.requests) == 2
    assert (time.monotonic() - start >= 1) == (misdeed == "429")  # Retry-After: 1


def test_a_build_is_more_patient_than_a_query(server: EmbeddingServer) -> None:
    server.misbehave = lambda n, texts: "500"
    for role, n in ((Role.DOCUMENT, 7), (Role.QUERY, 3)):
        server.requests.clear()
        with pytest.raises(EncoderError):
            make(server).encode(["star"], role=role)
        assert len(server.requests) == n


def test_nobody_answers() -> None:
    with serving() as gone:
        url = gone.url
    encoder = open_encoder(ModelSpec(name="openai:fake", base_url=url))
    with pytest.raises(EncoderError, match=r"expected an answer from http://127.*found none \(ConnectError\): is it"):
        encoder.encode(["star"], role=Role.QUERY)


def test_requests_are_within_limits_and_at_once(server: EmbeddingServer) -> None:
    def wait(n: int, texts: list[str]) -> None:
        time.sleep(0.1)

    server.misbehave = wait
    texts = [f"star {'gas ' * (i % 7)}number {i}" for i in range(150)]
    reported: list[tuple[int, int]] = []
    encoder = make(server, concurrency=3)
    encoded = encoder.encode_counted(texts, role=Role.DOCUMENT, progress=lambda *done: reported.append(done))
    np.testing.assert_allclose(encoded.vectors, expected(texts), atol=1e-7)
    assert sorted(len(body["input"]) for body in server.requests) == [22, 32, 32, 32, 32]
    assert server.most_at_once == 3
    assert sum(n for n, _ in reported) == 150
    assert sum(n for _, n in reported) == encoded.n_tokens.sum()
    assert set(server.asked.values()) == {1}


def test_no_more_is_sent_once_a_request_has_failed(server: EmbeddingServer) -> None:
    server.misbehave = lambda n, texts: "no json"
    with pytest.raises(EncoderError):
        make(server, concurrency=1).encode([f"star {i}" for i in range(3200)], role=Role.DOCUMENT)
    assert len(server.requests) < 10  # of 100


def test_the_sizes_of_requests_to_openai() -> None:
    encoder = open_encoder("openai:text-embedding-3-small", compute=Compute(token_budget=10**9))
    assert isinstance(encoder, ServiceEncoder)
    spans = [(s.start, s.stop) for s in encoder._spans(np.ones(5000, np.int64))]
    assert spans == [(0, 2048), (2048, 4096), (4096, 5000)]
    assert [s.stop - s.start for s in encoder._spans(np.full(50, 8191))] == [36, 14]  # 36 of 8,191 are 294,876


def test_empty_texts_are_named_and_none_make_nothing(server: EmbeddingServer) -> None:
    encoder = make(server)
    with pytest.raises(BadVector, match="found nothing at position 1"):
        encoder.encode(["star", " "], role=Role.DOCUMENT)
    assert encoder.encode([], role=Role.DOCUMENT).shape[0] == 0
    assert not server.requests


def test_prompts_are_sent_before_texts(server: EmbeddingServer) -> None:
    spec = ModelSpec(name="openai:fake", base_url=server.url, query_prompt="query: ", document_prompt="passage: ")
    encoder = open_encoder(spec)
    encoder.encode(["gas"], role=Role.QUERY)
    encoder.encode(["half \ud800 of a pair"], role=Role.DOCUMENT)
    assert [body["input"] for body in server.requests] == [["query: gas"], ["passage: half ? of a pair"]]


def test_another_dimension_than_the_models_is_refused(server: EmbeddingServer) -> None:
    with pytest.raises(EncoderError, match=r"expected vectors of 1536 numbers from .*found one of 8"):
        make(server, "ada-002").encode(["star"], role=Role.QUERY)
    assert server.requests[0]["model"] == "text-embedding-ada-002"
    encoder = make(server)
    encoder.encode(["star"], role=Role.QUERY)
    server.dim = 12
    with pytest.raises(EncoderError, match="expected vectors of 8 numbers"):
        encoder.encode(["star"], role=Role.QUERY)


def test_a_recipe_is_the_models_name_wherever_it_is(server: EmbeddingServer) -> None:
    recipe = make(server, "openai:text-embedding-ada-002").recipe
    assert recipe == open_encoder("ada-002").recipe
    assert recipe.weights == "service:text-embedding-ada-002"
    assert open_encoder("ada-002").dim == ADA_002.dim == 1536
    assert open_encoder("ada-002").recipe.max_tokens == ADA_002.max_tokens
    assert recipe != make(server).recipe
    assert not server.requests


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelSpec(name="openai:a", pooling=Pooling.CLS), "expected no pooling for openai:a"),
        (ModelSpec(name="openai:a", revision="main"), "expected no revision"),
        (ModelSpec(name="openai:a", max_tokens=9000), "must be from 1 to 8,191"),
        (ModelSpec(name="openai:"), "as openai:NAME, found 'openai:'"),
        (ModelSpec(name="minilm", base_url="http://localhost:1"), "as openai:NAME, found 'minilm'"),
        (ModelSpec(name="minilm", pooling=Pooling.SERVICE), "a pooling that can be asked for"),
        (ModelSpec(name="openai:a", base_url="localhost:8080"), "expected a base URL such as"),
        (ModelSpec(name="openai:a", base_url="http://me:secret@localhost"), "a user, a password or a query"),
        (ModelSpec(name="openai:a", base_url="http://localhost/v1?key=secret"), "a user, a password or a query"),
        (ModelSpec(name="openai:a", base_url="http://[::1/v1"), "expected a base URL such as"),
    ],
)
def test_what_a_service_cannot_be_asked(spec: ModelSpec, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        open_encoder(spec)
    assert "secret" not in str(caught.value)


def test_the_environment_says_where_the_service_is(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
    encoder = open_encoder("openai:fake")
    encoder.encode(["star"], role=Role.QUERY)
    assert isinstance(encoder, ServiceEncoder)
    assert encoder.spec.base_url == server.url
    given = ModelSpec(name="openai:fake", base_url="http://localhost:1/v1")
    assert find_address(given, from_store=False).url == "http://localhost:1/v1"
    assert find_address(given, from_store=True).url == server.url  # it has moved since


def test_a_store_does_not_decide_where_the_key_goes(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(name="openai:fake", base_url=server.url)
    from_store = open_encoder(spec, expected=make(server).recipe)
    from_store.encode(["star"], role=Role.QUERY)
    assert server.keys == ["Bearer none"]
    server.misbehave = lambda n, texts: "401"
    with pytest.raises(EncoderError, match=f"the index names this server, not you.* set OPENAI_BASE_URL={server.url}"):
        from_store.encode(["star"], role=Role.QUERY)
    server.misbehave = lambda n, texts: None
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    open_encoder(spec, expected=make(server).recipe).encode(["star"], role=Role.QUERY)
    assert server.keys[-1] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("url", "is_provider"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://name.openai.azure.com/openai/v1", True),
        ("http://api.openai.com/v1", False),  # the key would be read on the way
        ("https://api.openai.com.example.org/v1", False),
        ("https://myapi.openai.com.org/v1", False),
        ("http://localhost:8080/v1", False),
    ],
)
def test_whose_models_are_openais(url: str, is_provider: bool) -> None:
    address = find_address(ModelSpec(name="openai:a", base_url=url), from_store=True)
    assert (address.is_provider, address.takes_key) == (is_provider, is_provider)


def test_a_key_that_is_missing_or_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    openai = find_address(ModelSpec(name="ada-002"), from_store=False)
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    assert find_key(openai) == KEY
    for wrong, message in (
        ("", "expected a key for api.openai.com in OPENAI_API_KEY, found none"),
        ("kéy\x07", "plain"),
    ):
        monkeypatch.setenv("OPENAI_API_KEY", wrong)
        with pytest.raises(EncoderError, match=message):
            open_encoder("ada-002").encode(["star"], role=Role.QUERY)


def test_the_client_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'embedsearch\[openai\]'"):
        open_encoder("ada-002")


def test_the_key_is_not_logged(server: EmbeddingServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, logger=name)
    make(server).encode(TEXTS, role=Role.DOCUMENT)
    fails(server, "401")
    fails(server, "500")
    assert any(record.name.startswith("openai") for record in caplog.records)
    text = "\n".join(f"{record.getMessage()} {record.args!r}" for record in caplog.records)
    assert KEY not in text


def test_prices() -> None:
    address = find_address(ModelSpec(name="ada-002"), from_store=False)
    made = estimate("text-embedding-ada-002", address, n_texts=10_000, n_tokens=3_000_000, exact=True)
    assert (made.usd, made.seconds) == (pytest.approx(0.30), 180)
    assert estimate("text-embedding-9", address, n_texts=1, n_tokens=1, exact=True).usd is None
    elsewhere = find_address(ModelSpec(name="ada-002", base_url="http://localhost:1/v1"), from_store=False)
    unknown = estimate("text-embedding-ada-002", elsewhere, n_texts=1, n_tokens=1, exact=False)
    assert (unknown.usd, unknown.seconds) == (None, None)
