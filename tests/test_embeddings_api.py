"""/v1/embeddings as OpenAI's own client and as plain HTTP see it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from corpora import write
from fake_encoder import FakeEncoder
from serving import in_process, make_store

from embedsearch import Searcher
from embedsearch.build import build_index
from embedsearch.encoders import Role
from embedsearch.server.options import Limits
from embedsearch.stages.options import BuildOptions

MODEL = "given in Python"
"""What a store calls a model that it was given as an object."""


class TwoSided(FakeEncoder):
    """Has a prompt before queries: a star more."""

    def prepare(self, texts: Any, *, role: Role) -> Any:
        return super().prepare([f"star {text}" if role is Role.QUERY else text for text in texts], role=role)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("embeddings"), encoder=TwoSided(max_tokens=6))


@pytest.fixture(scope="module")
def url(index: Path) -> Iterator[str]:
    with in_process(index, encoder=TwoSided(max_tokens=6), limits=Limits(n_texts=8, text=100)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with (
        httpx.Client(trust_env=False) as http,
        openai.OpenAI(base_url=f"{url}/v1", api_key="any", http_client=http, max_retries=0) as made,
    ):
        yield made


def post(url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/embeddings", json=body, trust_env=False)


TEXTS = ["star star gas", "größte galaxy 🌌", "x", "dust"]


def test_the_official_client_gets_the_vectors_of_the_index(client: openai.OpenAI, index: Path) -> None:
    expected = Searcher.open(index, encoder=TwoSided(max_tokens=6)).embed(TEXTS, role="document")
    made = client.embeddings.create(model=MODEL, input=TEXTS)
    assert [one.index for one in made.data] == [0, 1, 2, 3]
    assert np.array_equal(np.array([one.embedding for one in made.data], np.float32), expected.vectors)
    assert (made.model, made.object, made.data[0].object) == (MODEL, "list", "embedding")
    assert made.usage.prompt_tokens == made.usage.total_tokens == 3 + 3 + 1 + 1


def test_one_text_gives_one_vector_as_in_a_list(client: openai.OpenAI) -> None:
    one = client.embeddings.create(model="default", input="star gas")
    listed = client.embeddings.create(model="default", input=["star gas"], encoding_format="float")
    assert len(one.data) == 1
    assert np.allclose(one.data[0].embedding, [0.5**0.5, 0, 0, 0, 0, 0, 0.5**0.5, 0])
    assert np.array_equal(np.float32(one.data[0].embedding), np.float32(listed.data[0].embedding))


def test_base64_holds_the_same_numbers_as_the_list(url: str) -> None:
    numbers = post(url, input=TEXTS, encoding_format="float").json()["data"]
    coded = post(url, input=TEXTS, encoding_format="base64").json()["data"]
    for number, code in zip(numbers, coded, strict=True):
        raw = np.frombuffer(base64.b64decode(code["embedding"]), "<f4")
        assert np.array_equal(raw, np.float32(number["embedding"]))


def test_a_query_is_embedded_as_one(client: openai.OpenAI) -> None:
    document = client.embeddings.create(model="default", input="gas").data[0].embedding
    query = client.embeddings.create(model="default", input="gas", extra_body={"role": "query"}).data[0].embedding
    assert document[0] == 0
    assert query[0] == pytest.approx(0.5**0.5)


def test_tokens_that_the_model_cut_off_do_not_count(client: openai.OpenAI) -> None:
    made = client.embeddings.create(model="default", input=["gas " * 6, "gas " * 20])
    assert made.usage.total_tokens == 6 + 6


def test_vectors_are_what_a_search_takes(url: str) -> None:
    vector = post(url, input="gas", role="query").json()["data"][0]["embedding"]
    by_vector = httpx.post(f"{url}/v1/search", json={"vector": vector}, trust_env=False).json()
    by_text = httpx.post(f"{url}/v1/search", json={"query": "gas", "mode": "dense"}, trust_env=False).json()
    assert by_vector["hits"] == by_text["hits"]


def test_the_transform_of_an_index_is_applied(tmp_path: Path) -> None:
    made = [{"id": f"p{n}", "abstract": f"star {word}"} for n, word in enumerate(("gas", "dust", "planet"))]
    options = BuildOptions(transform="truncate:4")
    build_index(write(tmp_path / "p.jsonl", made), tmp_path / "short", encoder=FakeEncoder(), options=options)
    with in_process(tmp_path / "short") as url:
        vector = post(url, input="star gas star", dimensions=4).json()["data"][0]["embedding"]
        refused = post(url, input="star", dimensions=8)
    assert vector == [1.0, 0.0, 0.0, 0.0]
    assert refused.status_code == 422
    assert refused.json()["detail"] == "expected dimensions of 4, as the index has them, or none, found 8"


def test_the_index_has_one_model_and_lists_it(client: openai.OpenAI) -> None:
    [model] = client.models.list().data
    assert (model.id, model.owned_by) == (MODEL, "embedsearch")
    assert model.created > 1_700_000_000


def test_another_model_is_not_found(client: openai.OpenAI) -> None:
    said = f"expected the model '{MODEL}', or 'default', found 'ada'"
    with pytest.raises(openai.NotFoundError, match=said) as caught:
        client.embeddings.create(model="ada", input="gas")
    assert caught.value.response.json()["code"] == "ModelNotFound"


TOO_MUCH = [
    ({"input": [1, 2, 3]}, "expected a text or a list of texts; tokens mean something"),
    ({"input": [[1, 2], [3]]}, "send the text"),
    ({"input": ""}, "expected a text that is not empty at body.input, found ''"),
    ({"input": ["gas", ""]}, "expected a text that is not empty at body.input.1, found ''"),
    ({"input": []}, "expected a list of at least 1 at body.input, found a list of 0"),
    ({"input": None}, "expected a text or a list at body.input, found None"),
    ({"input": {"text": "gas"}}, "expected a text or a list at body.input, found an object of 1"),
    ({"input": ["gas", 5]}, "expected a text at body.input.1, found 5"),
    ({}, "expected a value at body.input, found none"),
    ({"input": "gas", "encoding_format": "int8"}, "expected 'float' or 'base64' at body.encoding_format, found 'int8'"),
    ({"input": "gas", "dimensions": 3}, "expected dimensions of 8, as the index has them, or none, found 3"),
    ({"input": "gas", "role": "passage"}, "expected 'query' or 'document' at body.role, found 'passage'"),
    ({"input": "gas", "modell": "x"}, "expected fields among input, model, encoding_format, dimensions, user, role"),
    ({"input": ["gas"] * 9}, "expected at most 8 texts in a request, found 9"),
    ({"input": "g" * 101}, "expected a text of at most 100 characters, found 101"),
    ({"input": "NAN"}, "expected finite vectors, found NaN"),
]


@pytest.mark.parametrize(("body", "said"), TOO_MUCH, ids=[str(body)[:40] for body, _ in TOO_MUCH])
def test_what_is_refused(url: str, body: dict[str, Any], said: str) -> None:
    answer = post(url, **body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_as_much_as_is_allowed_is_taken(url: str) -> None:
    answer = post(url, input=["g" * 100] * 8)
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 8


async def test_the_official_asynchronous_client(url: str) -> None:
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", http_client=http) as client,
    ):
        made = await client.embeddings.create(model="default", input=TEXTS)
    assert len(made.data) == len(TEXTS)
