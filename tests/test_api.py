"""What the routes answer is what the Searcher finds, within the configured bounds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import numpy as np
import pytest
from corpora import records, write
from fake_encoder import WORDS, FakeEncoder
from gated_encoder import GatedEncoder
from serving import in_process, make_store

from embedsearch import Filters, Searcher, SearchResult
from embedsearch.build import build_index
from embedsearch.render.results import paper_dict, result_dict
from embedsearch.server.keys import Role, add_key
from embedsearch.server.public_names import public_name
from embedsearch.stages.options import BuildOptions

ODD_IDS = ("math/0309136", "größe/α β?#%25", "../v1/info", "a//b", "../..", "similar", "'; DROP TABLE papers")


@dataclass(frozen=True)
class Served:
    """A server, and what it must find."""

    http: httpx.Client
    here: Searcher

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-index-generation"] == "1"
        return answer.json()

    def post(self, path: str, **body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-index-generation"] == "1"
        return answer.json()

    def refused(self, method: str, path: str, status: int, **more: Any) -> Any:
        answer = self.http.request(method, path, **more)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.json()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api")
    odd = [
        {"id": id, "title": r"$\Lambda$ and M\"uller", "abstract": f"Star.\nGas {'wave ' * n}flows.", "odd": [1, None]}
        for n, id in enumerate(ODD_IDS)
    ]
    index = folder / "index"
    build_index(write(folder / "papers.jsonl", [*records(60), *odd]), index, encoder=FakeEncoder())
    with in_process(index) as url, httpx.Client(base_url=url, trust_env=False) as http:
        yield Served(http, Searcher.open(index, encoder=FakeEncoder()))


def as_json(result: SearchResult | list[SearchResult], *, full: bool = False) -> Any:
    if isinstance(result, SearchResult):
        return msgspec.json.decode(msgspec.json.encode(result_dict(result, full=full)))
    return [as_json(one, full=full) for one in result]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_a_search_finds_what_the_searcher_finds(served: Served, mode: str) -> None:
    expected = served.here.search("star gas", k=5, mode=mode)
    assert len(expected.hits) == 5
    assert served.get("/v1/search", q="star gas", k=5, mode=mode) == as_json(expected)
    assert served.post("/v1/search", query="star gas", k=5, mode=mode) == as_json(expected)


def test_filters_sort_facets_and_full_are_handed_on(served: Served) -> None:
    lists = {"category": ["gr-qc", "astro-ph.C*"], "author": ["Writer2", "A. Author5"]}
    filters = Filters(
        categories=("gr-qc", "astro-ph.C*"), since="2020-02", until="2020-09", authors=("Writer2", "A. Author5")
    )
    expected = as_json(served.here.search("star", k=7, filters=filters, sort="date", n_counted=20), full=False)
    assert expected["hits"]
    assert expected["facets"]["n_counted"]
    asked = {"k": 7, "since": "2020-02", "until": "2020-09", "sort": "date", "facets": 20}
    assert served.get("/v1/search", q="star", **asked, **lists) == expected
    assert served.post("/v1/search", query="star", **asked, **lists) == expected
    full = as_json(served.here.search("star", k=2), full=True)
    assert "paper" in full["hits"][0]
    assert served.get("/v1/search", q="star", k=2, full="true") == full
    assert served.post("/v1/search", query="star", k=2, full=True) == full


def test_one_text_means_a_list_of_one_in_filters(served: Served) -> None:
    expected = as_json(served.here.search("star", filters=Filters(categories=("gr-qc",), authors=("Author5",))))
    assert expected["hits"]
    assert served.post("/v1/search", query="star", category="gr-qc", author="Author5") == expected


def test_a_list_of_texts_gives_a_list_of_results(served: Served) -> None:
    texts = ["star", "gas", "star", "nothing of it"]
    assert served.post("/v1/search", query=texts, k=3) == as_json(served.here.search(texts, k=3))
    assert served.post("/v1/search", query=["star"], k=3) == [as_json(served.here.search("star", k=3))]


def test_a_vector_and_a_paper_are_searched_by_meaning(served: Served) -> None:
    vector = np.zeros(len(WORDS) + 1, np.float32)
    vector[0], vector[6] = 3.0, 0.1
    expected = as_json(served.here.search_vector(vector, k=4))
    assert served.post("/v1/search", vector=vector.tolist(), k=4) == expected
    assert served.post("/v1/search", vector=vector.tolist(), k=4, mode="dense") == expected
    alike = as_json(served.here.similar_to("2001.10000", k=4, n_counted=9))
    assert served.post("/v1/search", like="arXiv:2001.10000v3", k=4, facets=9) | {"query": ""} == alike | {"query": ""}
    assert served.get("/v1/papers/2001.10000/similar", k=4, facets=9) == alike
    several = ["2001.10000", "arXiv:2002.10001v1", "math/0309136"]
    for combine in ("nearest", "mean"):
        expected = as_json(served.here.similar_to(several, combine=combine, k=4, n_counted=9))
        assert {hit["like"] for hit in expected["hits"]} <= {"2001.10000", "2002.10001", "math/0309136"}
        assert served.post("/v1/search", like=several, combine=combine, k=4, facets=9, mode="dense") == expected
    for what in ({"vector": vector.tolist()}, {"like": "2001.10000"}, {"like": several}):
        said = served.refused("POST", "/v1/search", 422, json=what | {"mode": "keyword"})
        assert said["detail"] == f"expected mode dense, or none, with {next(iter(what))} at body, found keyword"


def test_a_vector_in_integers_will_do(served: Served) -> None:
    whole = [1, 0, 0, 0, 0, 0, 0, 0]
    assert served.post("/v1/search", vector=whole) == served.post("/v1/search", vector=[float(one) for one in whole])


@pytest.mark.parametrize("id", [*ODD_IDS, "2001.10000"])
def test_a_paper_is_found_by_whatever_its_id_holds(served: Served, id: str) -> None:
    stored = served.here.stored(id)
    found = served.get(f"/v1/papers/{quote(id, safe='')}")
    raw = paper_dict(stored.paper)
    assert found == {
        name: list(value) if isinstance(value, tuple) else value for name, value in raw.items() if name != "extra"
    } | {"title": stored.title, "abstract": stored.abstract, "authors": list(stored.authors)}
    whole = served.get(f"/v1/papers/{quote(id, safe='')}", full="true")
    assert whole == found | {"paper": msgspec.json.decode(msgspec.json.encode(raw))}
    alike = served.get(f"/v1/papers/{quote(id, safe='')}/similar", k=2)
    assert alike == as_json(served.here.similar_to(id, k=2))


def test_a_slash_need_not_be_escaped_and_any_form_of_an_id_will_do(served: Served) -> None:
    for form in ("math/0309136", "math.GT/0309136v2", "https://arxiv.org/abs/math/0309136", "arXiv:math/0309136"):
        assert served.get(f"/v1/papers/{form}")["id"] == "math/0309136"


def test_what_ends_in_similar_asks_for_similar_papers_whatever_ids_there_are(served: Served) -> None:
    assert served.get("/v1/papers/similar")["id"] == "similar"
    said = served.refused("GET", "/v1/papers/x/similar", 404)
    assert said["detail"] == "expected the id of one of the 67 papers in index, found 'x'"


def test_info_says_what_is_served_and_not_where(served: Served) -> None:
    info = served.get("/v1/info")
    assert {name: info[name] for name in ("name", "generation", "complete", "n_papers", "n_embedded", "dim")} == {
        "name": "index", "generation": 1, "complete": True, "n_papers": 67, "n_embedded": 67, "dim": 8,
    }  # fmt: skip
    assert info["source"] == "papers.jsonl"
    assert info["recipe"] == served.here.generation.recipe
    assert info["limits"] == {"k": 1000, "text": 10_000, "n_texts": 256, "body": 1 << 20, "seconds": 30.0}
    assert str(served.here.folder.parent) not in str(info)


def test_names_of_paths_are_their_last_part() -> None:
    assert public_name("/home/me/models/astro") == "astro"
    assert public_name("./models/astro") == "astro"
    assert public_name("papers.jsonl.gz") == "papers.jsonl.gz"
    assert public_name("sub/papers.jsonl") == "papers.jsonl"
    assert public_name("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    assert public_name("openai:text-embedding-3-small") == "openai:text-embedding-3-small"


def test_the_state_of_the_server_is_told(served: Served) -> None:
    for path in ("/healthz", "/readyz"):
        assert served.http.get(path).json() == {"status": "ok"}
    metrics = served.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "embedsearch_generation" in metrics.text


def test_head_is_get_without_a_body(served: Served) -> None:
    for path in ("/v1/search?q=star", "/v1/info", "/v1/papers/2001.10000", "/healthz", "/openapi.json"):
        got, head = served.http.get(path), served.http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
    assert served.http.head("/v1/papers/none").status_code == 404


def test_a_method_that_is_not_allowed_is_told_which_are(served: Served) -> None:
    for method, path, allowed in [
        ("DELETE", "/v1/search", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/search", "GET, HEAD, POST"),
        ("GET", "/v1/embeddings", "POST"),
        ("POST", "/v1/papers/2001.10000", "GET, HEAD"),
        ("PATCH", "/v1/info", "GET, HEAD"),
    ]:
        answer = served.http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["detail"] == f"expected one of {allowed} for {path}, found {method}"


def test_since_after_until_finds_nothing_as_everywhere(served: Served) -> None:
    assert served.get("/v1/search", q="star", since="2024", until="2001")["hits"] == []


def test_reload_needs_an_admin_even_where_nothing_else_needs_a_key(served: Served) -> None:
    said = served.refused("POST", "/v1/reload", 401)
    assert said["code"] == "NotAllowed"


def test_an_admin_can_reload(tmp_path: Path) -> None:
    index, file = make_store(tmp_path), tmp_path / "keys.json"
    token = add_key(file, "boss", role=Role.ADMIN)
    with in_process(index, keys_file=file) as url:
        asked = {"headers": {"Authorization": f"Bearer {token}"}, "trust_env": False}
        same = httpx.post(f"{url}/v1/reload", **asked).json()
        more = write(tmp_path / "more.jsonl", records(70, seed=1))
        build_index(more, index, encoder=FakeEncoder(), options=BuildOptions(overwrite=True))
        newer = httpx.post(f"{url}/v1/reload", **asked).json()
        info = httpx.get(f"{url}/v1/info", **asked).json()
    assert same == {"changed": False, "generation": 1}
    assert newer["generation"] == info["generation"] == 2
    assert info["n_papers"] == 70


def test_what_waits_is_dropped_when_its_client_leaves(served: Served) -> None:
    encoder = GatedEncoder()
    with (
        in_process(served.here.folder, encoder=encoder) as url,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as http,
    ):
        encoder.shut()
        running = pool.submit(http.get, "/v1/search?q=running")
        until(lambda: ["running"] in encoder.passes)
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(b"GET /v1/search?q=waiting HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(lambda: n_waiting(http) == 2)
        until(lambda: n_waiting(http) == 1)
        encoder.open()
        assert running.result().status_code == 200
        assert http.get("/v1/search?q=later").status_code == 200
    assert encoder.passes[-2:] == [["running"], ["later"]]


def n_waiting(http: httpx.Client) -> int:
    """Requests that the server says it works on."""
    lines = http.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("embedsearch_waiting "))))


def until(is_met: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_met():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.005)
