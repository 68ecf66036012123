"""The page as the server renders it, without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from fake_encoder import FakeEncoder
from page_papers import Elements, get_page
from serving import in_process

from embedsearch.search import Mode, Searcher
from embedsearch.server.page.address import Address, next_k
from embedsearch.server.page.cards import readable_date
from embedsearch.server.page.templating import rendered
from embedsearch.server.page.view import View, index_line, view_of

LAMBDA = '<math><mi mathvariant="normal">Λ</mi></math>'


@pytest.fixture(scope="module")
def client(page_index: Path) -> Iterator[httpx.Client]:
    with in_process(page_index) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_the_start_page_says_what_is_indexed_and_gives_examples(client: httpx.Client) -> None:
    html, page = get_page(client, "/")
    assert "44 abstracts" in html
    assert "generation 1" in html
    examples = [link["href"] for link in page.named("a") if str(link["href"]).startswith("/?q=")]
    assert len(examples) == 3
    assert 'class="hit"' not in html


def test_results_are_as_people_read_papers(client: httpx.Client) -> None:
    html, page = get_page(client, "/?q=dust+mass&mode=keyword")
    assert "<bdi>D. Four</bdi> et al." in html
    assert "Five" not in html
    assert "9 Jan 2023" in html
    assert LAMBDA + "CDM" in html
    assert "$" not in page.text
    assert page.named("a", href="https://arxiv.org/abs/2301.00001")
    assert page.named("a", href="https://arxiv.org/pdf/2301.00001")
    assert page.named("a", href="/?like=2301.00001")
    assert "<mark>The dust mass is <math><mrow><msup><mn>10</mn><mn>4</mn></msup>" in html
    assert page.named("details", class_="abstract")


def test_the_best_sentence_is_marked_in_excerpt_and_abstract(client: httpx.Client) -> None:
    html, _ = get_page(client, "/page/results?q=dust+mass&mode=keyword&k=1")
    assert html.count("<mark>The dust mass") == 2
    assert re.search(r'class="excerpt"[^>]*>… <mark>The dust mass', html)
    assert re.search(r"<p dir=\"auto\">We study star formation\. <mark>The dust mass", html)


def test_an_abstract_that_is_shown_already_needs_no_unfolding(client: httpx.Client) -> None:
    _, page = get_page(client, "/?q=wave&mode=keyword&k=1")
    assert not page.named("details", class_="abstract")


def test_the_fragment_is_what_the_page_has(client: httpx.Client) -> None:
    whole, part = client.get("/?q=galaxy").text, client.get("/page/results?q=galaxy").text
    assert part.strip() in whole
    assert "<html" not in part


def test_papers_like_one_are_headed_by_its_title(client: httpx.Client) -> None:
    html, page = get_page(client, "/?like=2301.00001")
    assert "Like <a" in html
    assert f"Dust in {LAMBDA}CDM" in html
    assert page.named("input", name="like", value="2301.00001", form="search")


def test_a_query_goes_before_a_paper_that_was_liked(client: httpx.Client) -> None:
    html, _ = get_page(client, "/?q=gas&like=2301.00001")
    assert "Like <a" not in html


def test_empty_fields_of_the_form_mean_nothing(client: httpx.Client) -> None:
    plain, _ = get_page(client, "/page/results?q=star")
    filled, _ = get_page(client, "/page/results?q=star&mode=hybrid&since=&until=&author=&utm_source=x")
    assert plain == filled


def test_filters_are_counted_and_each_that_is_on_can_be_taken_away(client: httpx.Client) -> None:
    html, page = get_page(client, "/?q=star&category=gr-qc&since=2020&until=2020-11&author=Writer1")
    chips = re.search(r'<ul class="chips".*?</ul>', html, re.DOTALL)
    assert chips is not None
    shown = Elements(chips[0])
    assert len(shown.named("a")) == 4
    for word in ("gr-qc", "from 2020", "until 2020-11", "Writer1"):
        assert word in shown.text
    without = [dict(parse_qsl(urlsplit(str(link["href"])).query)) for link in shown.named("a")]
    everything = {"q": "star", "category": "gr-qc", "since": "2020", "until": "2020-11", "author": "Writer1"}
    assert without == [{k: v for k, v in everything.items() if k != gone} for gone in list(everything)[1:]]
    assert page.named("input", type="hidden", name="category", value="gr-qc", form="search")


def test_a_count_is_how_many_papers_its_link_leaves(client: httpx.Client) -> None:
    html, _ = get_page(client, "/?q=star&k=44")
    link = re.search(r'<a href="([^"]*category=gr-qc[^"]*)"><bdi>gr-qc</bdi><span class="n">(\d+)', html)
    assert link is not None
    filtered, _ = get_page(client, link[1].replace("&amp;", "&") + "&k=44")
    assert filtered.count('class="hit"') == int(link[2]) > 5


def test_a_year_is_one_filter(client: httpx.Client) -> None:
    html, page = get_page(client, "/?q=dust&since=2023&until=2023")
    assert html.count('class="hit"') == 1
    on = [link for link in page.named("a") if link.get("aria-current") == "true"]
    assert [link["href"] for link in on] == ["/?q=dust"]


def test_more_results_up_to_the_limit(client: httpx.Client, page_index: Path) -> None:
    _, page = get_page(client, "/?q=star")
    assert page.named("a", href="/?q=star&k=25#paper-11")
    html, page = get_page(client, "/?q=star&k=50")
    assert "All 44 papers" in html
    assert not page.named("a", class_="button")
    assert [next_k(k, 60) for k in (10, 25, 50, 60)] == [25, 50, 60, None]


def test_sorting_by_date_is_a_link(client: httpx.Client) -> None:
    _, page = get_page(client, "/?q=star")
    assert page.named("a", href="/?q=star&sort=date")
    html, page = get_page(client, "/?q=star&sort=date")
    dates = re.findall(r'datetime="([^"]+)"', html)
    assert dates == sorted(dates, reverse=True)
    assert page.named("input", name="sort", value="date", form="search")


def test_the_mode_is_chosen(client: httpx.Client) -> None:
    _, page = get_page(client, "/?q=star&mode=keyword")
    assert [radio["value"] for radio in page.named("input", type="radio") if "checked" in radio] == ["keyword"]


def test_nothing_found_says_so(client: httpx.Client) -> None:
    html, _ = get_page(client, "/?q=xyzzy&mode=keyword")
    assert "No paper answers this" in html


def test_an_index_that_is_being_built_says_how_far_it_is(page_index: Path) -> None:
    generation = Searcher.open(page_index, encoder=FakeEncoder()).generation
    line = replace(index_line(generation, has_encoder=True), n_papers=1000, n_embedded=414)
    html = rendered("view.html", view=View(address=Address(), heading=""), index=line, max_text=100)
    assert "414 of 1,000 papers (41 %) can be found by meaning" in " ".join(html.split())


def test_an_index_without_encoder_is_searched_by_words(page_index: Path) -> None:
    generation = Searcher.open(page_index, encoder=FakeEncoder()).generation
    line = index_line(generation, has_encoder=False)
    html = rendered("page.html", view=View(address=Address(), heading=""), index=line, max_text=100)
    (modes,) = Elements(html).named("fieldset", id="modes")
    assert {"hidden", "disabled"} <= set(modes)  # there is nothing to choose, and nothing of it is sent
    assert "data-words-only" in Elements(html).named("div", id="view")[0]
    assert "searched by words" in html


def test_a_model_that_is_a_folder_goes_by_its_name(page_index: Path) -> None:
    generation = Searcher.open(page_index, encoder=FakeEncoder()).generation
    line = index_line(_with_model(generation, "/srv/secret/llama"), has_encoder=True)
    assert line.model == "llama"
    line = index_line(_with_model(generation, "BAAI/bge-small-en-v1.5"), has_encoder=True)
    assert line.model == "BAAI/bge-small-en-v1.5"


def _with_model(generation: Any, name: str) -> Any:
    import msgspec

    return msgspec.structs.replace(generation, model={"name": name})


def test_bibtex(client: httpx.Client) -> None:
    answer = client.get("/page/bibtex/2301.00001")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("@misc{")
    assert client.get("/page/bibtex/9999.99999").status_code == 404


@pytest.mark.parametrize(
    ("iso", "shown"),
    [
        ("2023-01-15", "15 Jan 2023"),
        ("2023-01", "Jan 2023"),
        ("2023", "2023"),
        (None, ""),
        ("2023-01-15T10:00:00Z", "15 Jan 2023"),
    ],
)
def test_dates_are_as_precise_as_they_are_known(iso: str | None, shown: str) -> None:
    assert readable_date(iso) == shown


def test_years_are_drawn_without_gaps(page_index: Path) -> None:
    searcher = Searcher.open(page_index, encoder=FakeEncoder())
    view = view_of(searcher.search("star", k=3, n_counted=200), Address(q="star", since="2020", until="2020"), limit=10)
    assert view.span == ("2014", "2023")  # ten at least
    assert [2014 + i for i, bar in enumerate(view.bars) if bar.height] == [2018, 2020, 2023]
    assert [2014 + i for i, bar in enumerate(view.bars) if bar.is_on] == [2020]
    assert view.bars[6].height == 24


def test_the_bar_of_words_is_relative_to_the_best(page_index: Path) -> None:
    searcher = Searcher.open(page_index, encoder=FakeEncoder())
    for mode in Mode:
        view = view_of(searcher.search("star gas", k=10, mode=mode), Address(q="star gas"), limit=10)
        assert all(0 <= card.share <= 100 for card in view.cards)
    assert view.cards[0].share == 100
