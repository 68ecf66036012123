"""The day's list in the page, as the server renders it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from page_papers import DAY, LINK, Elements, get_page, make_day_store
from serving import in_process

from embedsearch.server.keys import Keys, Role, add_key
from embedsearch.server.options import ServeOptions
from embedsearch.server.page.day import DayFile, is_shown
from embedsearch.today import day_path
from embedsearch.today.day import write_day

LAMBDA = '<math><mi mathvariant="normal">Λ</mi></math>'


@pytest.fixture(scope="module")
def day_index(page_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_day_store(page_index, tmp_path_factory.mktemp("day") / "index")


@pytest.fixture(scope="module")
def client(day_index: Path) -> Iterator[httpx.Client]:
    with in_process(day_index) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def has_link(page: Elements) -> bool:
    """Whether the head shows where the list is."""
    (nav,) = page.named("nav", class_="also")
    return "hidden" not in nav


def test_the_head_leads_to_it(client: httpx.Client) -> None:
    for path in ("/", "/?q=star", "/?q="):
        assert has_link(Elements(client.get(path).text))
    _, page = get_page(client, "/today")
    assert page.named("a", id="day", href="/today")[0]["aria-current"] == "page"
    assert "data-day" in page.named("div", id="view")[0]


def test_papers_of_the_list_are_as_everywhere(client: httpx.Client) -> None:
    html, page = get_page(client, "/today")
    assert html.count('class="hit"') == 2
    assert f"Dust in {LAMBDA}CDM" in html
    assert page.named("a", href="https://arxiv.org/pdf/2301.00001")
    assert page.named("a", href="/?like=2301.00001", class_="alike")
    assert [box["value"] for box in page.named("input", type="checkbox")] == ["2301.00001", LINK["id"]]
    assert not page.named("a", class_="category")  # there is no search that it could narrow down
    assert '<bdi class="category">astro-ph.GA</bdi>' in html
    assert "<title>Today’s list – embedsearch</title>" in html


def test_each_says_why_it_is_there(client: httpx.Client) -> None:
    html, page = get_page(client, "/today")
    words = " ".join(page.text.split())
    assert "Closer than 99.5 % of last year's 812 papers" in words
    assert "Closer than all of last year's 812 papers" in words
    assert "Nearest of yours, 0.88: A planet" in words
    assert "Then, 0.50: <b>Gone</b>" in words
    assert "Both say dust lane, <b>H-alpha</b>" in words
    assert page.named("a", href="/?q=1801.00002")
    assert "9999.00001" not in html  # which nothing could be said of
    assert not page.named("b")


def test_what_it_is_a_list_of_is_said(client: httpx.Client) -> None:
    words = " ".join(get_page(client, "/today")[1].text.split())
    assert "12 new papers" in words
    assert "my.bib" in words
    assert "2026-11-29, 06:02" in words
    assert "Rubin1970<b>" in words
    assert "One paper of the list is not in this index any more." in words


def test_the_fragment_is_what_the_page_has(client: httpx.Client) -> None:
    part = client.get("/page/today").text
    assert part.strip() in client.get("/today").text
    assert "<html" not in part


def test_chosen_papers_are_carried(client: httpx.Client) -> None:
    _, page = get_page(client, "/today?like=2301.00001&like=1801.00002")
    assert [box["value"] for box in page.named("input", type="checkbox") if "checked" in box] == ["2301.00001"]
    assert page.named("input", type="hidden", name="like", value="1801.00002", form="search")
    assert page.named("a", href="/?q=1801.00002&like=2301.00001&like=1801.00002")
    assert page.named("a", href="/today", class_="button clear")


def test_so_many_as_are_asked_for(client: httpx.Client) -> None:
    html, page = get_page(client, "/today?k=1")
    assert html.count('class="hit"') == 1
    assert page.named("a", href="/today?k=10#paper-2")
    get_page(client, "/today?k=0", 422)
    get_page(client, "/today?k=1001", 422)


# ---- where there is none --------------------------------------------------------------------------------------------


def test_an_index_without_a_list_has_no_link(page_index: Path) -> None:
    with in_process(page_index) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert not has_link(Elements(client.get("/").text))
        _, page = get_page(client, "/today", 404)
        assert "There is no list of the day here" in page.text
        get_page(client, "/page/today", 404)


def test_it_is_read_again_when_it_changes(page_index: Path, tmp_path: Path) -> None:
    index = shutil.copytree(page_index, tmp_path / "index")
    with in_process(index) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert not has_link(Elements(client.get("/").text))
        write_day(index, DAY)
        assert has_link(Elements(client.get("/").text))
        write_day(index, msgspec.structs.replace(DAY, papers=DAY.papers[:1], n_new=345))
        assert "345 new papers" in get_page(client, "/today")[1].text
        day_path(index).unlink()
        assert not has_link(Elements(client.get("/").text))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"made": 3}', b"\xff\xfe", b"[" * 100_000, b'{"papers": [{"id": "2301.00001"}]}'],
    ids=["empty", "cut", "list", "number", "bytes", "deep", "lacking"],
)
def test_a_broken_file_is_one_line_in_the_log(
    page_index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    day_path(tmp_path).write_bytes(content)
    file = DayFile(tmp_path)
    with caplog.at_level(logging.WARNING, "embedsearch"):
        assert [file.read() for _ in range(3)] == [None, None, None]
    (record,) = caplog.records
    assert "no day's list" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_broken_file_is_no_error_of_the_page(page_index: Path, tmp_path: Path) -> None:
    index = shutil.copytree(page_index, tmp_path / "index")
    day_path(index).write_text("{}")
    with in_process(index) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert not has_link(get_page(client, "/?q=star")[1])
        get_page(client, "/today", 404)


@pytest.mark.parametrize(
    "changes",
    [
        {"papers": []},
        {"n_year": 0},
        {"n_year": -1, "n_library": -3, "n_new": 0, "library": [], "made": "", "since": "", "until": "never"},
        {"papers": [msgspec.structs.replace(DAY.papers[0], cosine=-1e300, n_as_near=10**15, terms=["x" * 5000] * 50)]},
        {"papers": [msgspec.structs.replace(DAY.papers[0], nearest=[])] * 3},
    ],
    ids=["nothing", "no year", "odd", "extreme", "three times"],
)
def test_odd_lists_are_shown_as_well(page_index: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    index = shutil.copytree(page_index, tmp_path / "index")
    write_day(index, msgspec.structs.replace(DAY, **changes))
    with in_process(index) as url, httpx.Client(base_url=url, trust_env=False) as client:
        _, page = get_page(client, "/today")
        assert page.named("h1", id="heading")


# ---- who may see it -------------------------------------------------------------------------------------------------


def shown(*, keys: bool = False, **options: Any) -> bool:
    class SomeKeys(Keys):
        required = keys

    return is_shown(ServeOptions(index=Path("i"), **options), SomeKeys(None, None))


def test_it_is_not_for_strangers() -> None:
    assert shown()
    assert shown(host="::1")
    assert shown(keys=True)
    assert shown(keys=True, host="0.0.0.0", allowed_hosts=("a",))
    assert not shown(keys=True, public_read=True)
    assert not shown(host="0.0.0.0", insecure=True)
    assert not shown(allowed_hosts=("papers.example",))
    assert shown(public_read=True, keys=True, show_day=True)
    assert not shown(show_day=False)


def test_it_needs_the_key_that_reading_needs(day_index: Path, tmp_path: Path) -> None:
    token = add_key(tmp_path / "keys.json", "reader", role=Role.READ)
    with (
        in_process(day_index, keys_file=tmp_path / "keys.json") as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        for path in ("/", "/today"):
            html, page = get_page(client, path)
            assert page.named("form", id="key-form")
            assert not has_link(page)  # not even that there is one
            assert "my.bib" not in html
        assert client.get("/page/today").status_code == 401
        answer = client.get("/page/today", headers={"Authorization": f"Bearer {token}"})
        assert "my.bib" in answer.text
        assert "data-day" in answer.text


def test_who_runs_the_server_may_hide_it(day_index: Path) -> None:
    with in_process(day_index, show_day=False) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert not has_link(get_page(client, "/")[1])
        html, _ = get_page(client, "/today", 404)
        assert "my.bib" not in html
