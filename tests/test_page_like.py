"""Papers like several, chosen in the page, as the server renders it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder
from page_papers import ATTACKS, Elements, get_page
from serving import in_process
from starlette.datastructures import QueryParams

from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import OverLimit
from embedsearch.search import Combine, Searcher
from embedsearch.server.options import Limits
from embedsearch.server.page.address import MAX_LIKED, Address, read_address, read_day_address
from embedsearch.update import remove

DUST, PLANET, GONE = "2301.00001", "1801.00002", "9999.99999"
BOTH = f"/?like={DUST}&like={PLANET}"


@pytest.fixture(scope="module")
def client(page_index: Path) -> Iterator[httpx.Client]:
    with in_process(page_index) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def boxes(page: Elements) -> dict[str, bool]:
    """The papers that can be chosen, and whether they are."""
    return {str(box["value"]): "checked" in box for box in page.named("input", type="checkbox", name="like")}


def hidden(page: Elements, name: str = "like") -> list[str | None]:
    return [field["value"] for field in page.named("input", type="hidden", form="search", name=name)]


# ---- the address ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        Address(like=("astro-ph/0601001", "2301.00001")),
        Address(like=("2301.00001", "x y&z"), combine=Combine.MEAN, categories=("gr-qc",), k=25),
        Address(q="a b", like=("2301.00001",)),
    ],
)
def test_an_address_is_read_as_it_was_written(address: Address) -> None:
    assert read_address(QueryParams(urlsplit(address.href()).query), Limits()) == address


@pytest.mark.parametrize("address", [Address(is_day=True, k=50), Address(is_day=True, like=("2301.00001",), k=100)])
def test_so_is_that_of_the_days_list(address: Address) -> None:
    assert urlsplit(address.href()).path == "/today"
    assert read_day_address(QueryParams(urlsplit(address.href()).query), Limits()) == address


def test_a_paper_is_chosen_once_however_it_is_written() -> None:
    given = QueryParams("like=2301.00001v2&like=arXiv:2301.00001&like=&like=+2301.00001+&like=math.GT/0309136")
    assert read_address(given, Limits()).like == ("2301.00001", "math/0309136")


def test_no_more_papers_than_an_address_should_carry() -> None:
    most = "&".join(f"like={i}" for i in range(MAX_LIKED))
    assert len(read_address(QueryParams(most), Limits()).like) == MAX_LIKED
    with pytest.raises(OverLimit, match=f"at most {MAX_LIKED} chosen papers, found {MAX_LIKED + 1}"):
        read_address(QueryParams(f"{most}&like=x"), Limits())
    with pytest.raises(OverLimit, match="expected id of at most 1,000 characters"):
        read_address(QueryParams("like=" + "x" * 1001), Limits())


# ---- what is like them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("combine", list(Combine))
def test_each_hit_says_which_paper_it_is_nearest_to(client: httpx.Client, page_index: Path, combine: Combine) -> None:
    html, page = get_page(client, f"{BOTH}&combine={combine.value}&k=20")
    result = Searcher.open(page_index, encoder=FakeEncoder()).similar_to([DUST, PLANET], combine=combine, k=20)
    assert list(boxes(page)) == [hit.id for hit in result.hits]
    numbers = re.findall(r'class="near"><span class="badge" aria-hidden="true">(\d)</span><span>Nearest to <a', html)
    assert numbers == [{DUST: "1", PLANET: "2"}[str(hit.like)] for hit in result.hits]
    assert set(numbers) == {"1", "2"}


def test_the_chosen_papers_head_what_is_like_them(client: httpx.Client) -> None:
    _, page = get_page(client, f"{BOTH}&category=gr-qc")
    assert "Like these 2 papers" in page.text
    off = [link["href"] for link in page.named("a", class_="off")]
    assert off == [f"/?like={PLANET}&category=gr-qc", f"/?like={DUST}&category=gr-qc"]
    assert page.named("a", class_="name", href=f"/?q={DUST}&like={DUST}&like={PLANET}&category=gr-qc")
    assert page.named("a", href=f"{BOTH}&combine=mean&category=gr-qc")
    assert hidden(page) == [DUST, PLANET]
    assert not {DUST, PLANET} & set(boxes(page))
    assert page.named("div", id="bar", class_="bar")  # which has nothing to say yet


def test_the_mean_is_kept_by_what_follows(client: httpx.Client) -> None:
    _, page = get_page(client, f"{BOTH}&combine=mean")
    assert hidden(page, "combine") == ["mean"]
    assert page.named("a", href=f"{BOTH}&combine=mean&k=25#paper-11")


def test_one_paper_needs_no_choice_of_how(client: httpx.Client) -> None:
    _, page = get_page(client, f"/?like={DUST}")
    assert "their mean" not in page.text
    assert "Nearest to" not in page.text


def test_many_chosen_papers_are_folded(client: httpx.Client) -> None:
    _, page = get_page(client, "/?q=star&k=20")
    ids = list(boxes(page))[:7]
    _, page = get_page(client, "/?" + "&".join(f"like={id}" for id in ids))
    assert len(page.named("a", class_="off")) == 7
    assert "2 more chosen papers" in page.text


# ---- they are carried along -----------------------------------------------------------------------------------------


def test_chosen_papers_survive_another_search(client: httpx.Client) -> None:
    _, page = get_page(client, f"/?q=dust+mass&like={PLANET}&like={DUST}")
    assert boxes(page)[DUST] is True
    assert hidden(page) == [PLANET]  # which stands nowhere on the page
    assert sum(boxes(page).values()) == 1
    assert "Like these" not in page.text
    assert page.named("div", id="bar", class_="bar on")
    assert page.named("a", class_="button clear", href="/?q=dust+mass")
    carrying = [str(link["href"]) for link in page.named("a") if "category=" in str(link["href"])]
    assert len(carrying) > 3
    assert all(f"like={PLANET}&like={DUST}" in href for href in carrying)


def test_more_like_one_is_about_that_one_alone(client: httpx.Client) -> None:
    _, page = get_page(client, f"/?q=star&like={PLANET}")
    assert {str(link["href"]).count("like=") for link in page.named("a", class_="alike")} == {1}


def test_the_button_of_the_form_leads_to_the_address_that_links_have(client: httpx.Client) -> None:
    filled = f"/?q=dust&mode=hybrid&like={DUST}&go=like&like={PLANET}&since=&author=&sort=score&category=gr-qc"
    answer = client.get(filled)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{BOTH}&category=gr-qc"
    assert client.get("/?q=dust&go=like").headers["location"] == "/?q=dust"  # with nothing chosen
    get_page(client, "/?q=dust&go=like&k=zero", 422)


# ---- an address may be older than the index -------------------------------------------------------------------------


def test_what_is_not_in_the_index_is_left_out_and_named(client: httpx.Client) -> None:
    _, page = get_page(client, f"{BOTH}&like={GONE}")
    assert f"One chosen paper is not in this index, and left out: {GONE}" in page.text
    assert "Like these 2 papers" in page.text
    _, page = get_page(client, f"/?like={GONE}&like={DUST}&like=x")
    assert "2 chosen papers are not in this index" in page.text
    assert "Like Dust" in page.text


def test_of_nothing_but_unknown_papers_there_is_nothing_like_them(client: httpx.Client) -> None:
    _, page = get_page(client, f"/?like={GONE}&like=x", 404)
    assert "There are no such papers in this index" in page.text
    get_page(client, f"/?q=star&like={GONE}&like=x")  # they are carried, not asked for


def test_no_markup_of_an_id_gets_through(client: httpx.Client) -> None:
    evil = httpx.QueryParams([("like", ATTACKS["id"]), ("like", DUST), ("like", "</p><script>alert(1)</script>")])
    for path in (f"/?{evil}", f"/?{evil}&q=plasma"):
        _, page = get_page(client, path)
        assert len(page.named("script")) == 1
        assert not page.named("img")


def test_an_index_that_is_not_finished_has_papers_that_nothing_is_like(tmp_path: Path) -> None:
    papers = write(tmp_path / "papers.jsonl", records(12))
    failing = FakeEncoder(batch=4, fail_at=8)
    with pytest.raises(RuntimeError, match="told to fail"):
        build_index(papers, tmp_path / "index", encoder=failing, options=BuildOptions(shard_rows=4))
    ids = [str(record["id"]) for record in records(12)]
    with in_process(tmp_path / "index") as url, httpx.Client(base_url=url, trust_env=False) as client:
        _, page = get_page(client, f"/?like={ids[0]}&like={ids[11]}&k=20")
        assert "of 12 papers" in page.text
        assert ids[11] not in boxes(page)
        _, page = get_page(client, f"/?like={ids[10]}&like={ids[11]}", 422)
        assert "Papers like these cannot be found" in page.text
        assert str(tmp_path) not in page.text
        _, page = get_page(client, f"/?like={ids[10]}", 422)
        assert "Papers like this cannot be found" in page.text


def test_papers_that_the_next_generation_lacks_are_left_out(page_index: Path, tmp_path: Path) -> None:
    index = shutil.copytree(page_index, tmp_path / "index")
    path = f"/?like={DUST}&like={PLANET}"
    with in_process(index, poll_seconds=0.05) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert "left out" not in get_page(client, path)[1].text
        remove([DUST], index)
        for _ in range(200):
            _, page = get_page(client, path)
            if "left out" in page.text:
                break
            time.sleep(0.01)
        assert f"left out: {DUST}" in page.text
        assert DUST not in boxes(page)
        get_page(client, f"/?like={DUST}", 404)
        assert DUST not in boxes(get_page(client, "/?q=dust&k=50")[1])
