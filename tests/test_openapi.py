"""The OpenAPI document: its examples run, answers are as it says, and it says what is configured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from fake_encoder import FakeEncoder
from fuzzing import ASCII, UNICODE, fuzz
from serving import in_process, make_store

from embedsearch.build import build_index
from embedsearch.corpus import sample_path
from embedsearch.server.keys import Role, add_key
from embedsearch.server.options import Limits


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled papers, some of which the examples name."""
    index = tmp_path_factory.mktemp("openapi") / "index"
    build_index(sample_path(), index, encoder=FakeEncoder())
    return index


@pytest.fixture(scope="module")
def token(index: Path) -> str:
    return add_key(index.parent / "keys.json", "boss", role=Role.ADMIN)


@pytest.fixture(scope="module")
def http(index: Path, token: str) -> Iterator[httpx.Client]:
    with (
        in_process(index, keys_file=index.parent / "keys.json") as url,
        httpx.Client(base_url=url, trust_env=False, headers={"Authorization": f"Bearer {token}"}) as http,
    ):
        yield http


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> Any:
    return http.get("/openapi.json").json()


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def examples(operation: Any) -> Iterator[dict[str, Any]]:
    """One request with all examples of parameters, one with the required ones, and one for each example of a body."""
    parameters = operation.get("parameters", [])
    value = {one["name"]: (one["schema"].get("examples") or one.get("examples") or [None])[0] for one in parameters}
    query = {one["name"]: value[one["name"]] for one in parameters if one["in"] == "query"}
    path = {one["name"]: value[one["name"]] for one in parameters if one["in"] == "path"}
    needed = {one["name"] for one in parameters if one["required"]}
    bodies = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
    for body in [one["value"] for one in bodies.values()] or [None]:
        for names in (query.keys(), needed):
            params = {name: query[name] for name in names if query.get(name) is not None}
            yield {"path": path, "params": params} | ({"json": body} if body else {})


def check(answer: httpx.Response, operation: Any, document: Any) -> None:
    """An answer is one of those that its operation describes."""
    described = operation["responses"][str(answer.status_code)]
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in described["content"]
    if media_type.endswith("json"):
        schema = described["content"][media_type]["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())
    for name in described["headers"]:
        if name != "X-Index-Generation" or answer.status_code == 200:
            assert name in answer.headers


def test_every_example_runs_and_gets_what_is_described(http: httpx.Client, document: Any) -> None:
    n = 0
    for method, template, operation in operations(document):
        for example in examples(operation):
            path = template.format(**{name: quote(str(id)) for name, id in example.pop("path").items()})
            answer = http.request(method, path, **example)
            assert answer.status_code == 200, (method, path, example, answer.text)
            check(answer, operation, document)
            if "hits" in answer.text:
                assert '"hits":[{' in answer.text, "an example should find something"
            n += 1
    assert n >= 20


def test_full_answers_and_errors_are_as_described(http: httpx.Client, document: Any) -> None:
    id = "2005.99066"
    for method, path, template, more in [
        ("GET", f"/v1/papers/{id}?full=true", "/v1/papers/{id}", {}),
        ("GET", f"/v1/papers/{id}/similar?full=true&facets=20", "/v1/papers/{id}/similar", {}),
        ("GET", "/v1/search?q=dust&full=true&facets=20", "/v1/search", {}),
        ("GET", "/v1/search?q=dust&mode=keyword", "/v1/search", {}),
        ("POST", "/v1/search", "/v1/search", {"json": {"query": ["dust", "gas"], "full": True, "facets": 3}}),
        ("POST", "/v1/search", "/v1/search", {"json": {"query": 5, "k": 0}}),
        ("POST", "/v1/search", "/v1/search", {"content": b"{"}),
        ("POST", "/v1/search", "/v1/search", {"content": b"{", "headers": {"content-type": "application/json"}}),
        ("POST", "/v1/embeddings", "/v1/embeddings", {"json": {"input": "dust", "model": "other"}}),
        ("GET", "/v1/papers/none", "/v1/papers/{id}", {}),
        ("GET", "/v1/info", "/v1/info", {"headers": {"Authorization": "Bearer other"}}),
    ]:
        answer = http.request(method, path, **more)
        check(answer, document["paths"][template][method.lower()], document)


def test_what_it_says_of_itself(document: Any) -> None:
    assert {path for _, path, _ in operations(document)} == {
        "/v1/search", "/v1/papers/{id}", "/v1/papers/{id}/similar", "/v1/embeddings", "/v1/models", "/v1/info",
        "/v1/reload", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] and operation["description"] for _, _, operation in operations(document))
    for _, path, operation in operations(document):
        assert ("security" in operation) == (path not in ("/healthz", "/readyz"))
    assert "x-limit" not in str(document)


def test_it_shows_the_bounds_that_are_configured(index: Path) -> None:
    with in_process(index, limits=Limits(k=7, text=99, n_texts=3)) as url:
        document = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    search = {one["name"]: one["schema"] for one in document["paths"]["/v1/search"]["get"]["parameters"]}
    assert (search["k"]["maximum"], search["k"]["default"], search["q"]["maxLength"]) == (7, 7, 99)
    body = document["components"]["schemas"]["SearchBody"]["properties"]
    texts = next(one for one in body["query"]["anyOf"] if one.get("type") == "array")
    assert (texts["maxItems"], texts["items"]["maxLength"], body["k"]["maximum"]) == (3, 99, 7)
    vector = next(one for one in body["vector"]["anyOf"] if one["type"] == "array")
    assert (vector["minItems"], vector["maxItems"]) == (8, 8)
    # Without keys only what an admin does needs one.
    assert [path for _, path, operation in operations(document) if "security" in operation] == ["/v1/reload"]


@pytest.mark.parametrize("alphabet", [ASCII, UNICODE])
def test_requests_made_from_the_document(tmp_path: Path, alphabet: str) -> None:
    token = add_key(tmp_path / "keys.json", "boss", role=Role.ADMIN)
    with in_process(make_store(tmp_path), keys_file=tmp_path / "keys.json") as url:
        found = fuzz(url, token=token, examples=2, alphabet=alphabet, edges=alphabet == ASCII)
    assert not found.failures, "\n\n".join(found.failures[:5])
    assert found.n_requests > (800 if alphabet == ASCII else 30)
    assert {"positive_data_acceptance", "response_schema_conformance", "ignored_auth"} <= set(found.checks)
