"""Harvests: pages, tokens, deletions, several sets, what goes on and what is refused."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fetched_papers import SET, Record, days, deletion, one_a_day, paper
from oai_server import OaiServer, changed, fault, serving

from embedsearch._version import __version__
from embedsearch.errors import EmbedsearchError, OptionError, ServerError, StoreCorrupt, StoreError, StoreLocked
from embedsearch.fetch import FetchProgress, FetchReport, fetch
from embedsearch.fetch.state import lock

SINCE = "2026-01-01"


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here pulls the plug, and each sync takes 5 ms."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def server() -> Iterator[OaiServer]:
    with serving(one_a_day(10), page_size=3) as server:
        yield server


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "papers.jsonl"


def get(server: OaiServer, out: Path, *, sets: tuple[str, ...] = (SET,), **options: Any) -> FetchReport:
    options = {"since": SINCE} | options
    return fetch(sets, out, base_url=server.url, pause=0, sleep=lambda seconds: None, **options)


def read(out: Path) -> list[Record]:
    with gzip.open(out, "rt") if out.suffix == ".gz" else open(out) as file:
        return [json.loads(line) for line in file]


def ids(out: Path) -> list[str]:
    return [record["id"] for record in read(out)]


def names(*numbers: int) -> list[str]:
    return [paper(n)["id"] for n in numbers]


def verbs(server: OaiServer) -> list[str]:
    return [query.get("verb", "") for query in server.queries]


def beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir())


# Pages


def test_all_pages_are_written_in_the_order_of_modification(server: OaiServer, out: Path) -> None:
    report = get(server, out)
    assert [(r["id"], r["update_date"]) for r in read(out)] == [*zip(names(*range(10)), days(10), strict=True)]
    assert (report.n_records, report.n_deleted, report.n_all, report.n_requests) == (10, 0, 10, 5)
    assert (report.since, report.until, report.out) == (SINCE, "2026-01-31", out)
    assert beside(out) == [".papers.jsonl.lock", "papers.jsonl", "papers.jsonl.fetch.json"]


def test_a_token_is_sent_alone_and_encoded_again(server: OaiServer, out: Path) -> None:
    get(server, out)
    assert server.queries[1] == {"verb": "ListRecords", "metadataPrefix": "arXivRaw", "set": SET, "from": SINCE}
    assert all(set(query) == {"verb", "resumptionToken"} for query in server.queries[2:])
    assert "%253D" in server.raw[2]  # = in the token, which has it as %3D already


def test_one_page_needs_no_token(server: OaiServer, out: Path) -> None:
    server.page_size = 10
    assert get(server, out).n_requests == 2


def test_an_empty_token_is_the_last_page(server: OaiServer, out: Path) -> None:
    server.records = server.records[:3]
    answer = server.answer
    server.answer = lambda query: answer(query).replace("</ListRecords>", "<resumptionToken/></ListRecords>")  # type: ignore[method-assign]
    assert get(server, out).n_records == 3


def test_days_bound_what_is_asked_for(server: OaiServer, out: Path) -> None:
    report = get(server, out, since="2026-01-03", until="2026-01-05")
    assert ids(out) == names(2, 3, 4)
    assert (report.since, report.until) == ("2026-01-03", "2026-01-05")


def test_days_before_the_servers_first_are_not_asked_for(server: OaiServer, out: Path) -> None:
    assert get(server, out, since="1991").n_records == 10
    assert server.queries[1]["from"] == "2005-09-16"


def test_nothing_that_matches_is_an_empty_file(server: OaiServer, out: Path) -> None:
    report = get(server, out, since="2026-01-20")
    assert (report.n_records, report.n_all) == (0, 0)
    assert out.read_bytes() == b""
    assert get(server, out, since="2026-01-20").n_records == 0


def test_the_same_records_are_the_same_bytes_also_packed(server: OaiServer, tmp_path: Path) -> None:
    plain, packed, again = (tmp_path / name for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.gz"))
    for out in (plain, packed, again):
        get(server, out)
    assert packed.read_bytes() == again.read_bytes()
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


def test_progress_is_the_share_of_days_or_of_records(server: OaiServer, tmp_path: Path) -> None:
    told: list[FetchProgress] = []
    get(server, tmp_path / "a.jsonl", until="2026-01-11", progress=told.append)
    assert [at.share and round(at.share, 2) for at in told] == [None, 0.2, 0.5, 0.8, 1.0]
    assert {(at.since, at.until) for at in told} == {(SINCE, "2026-01-11")}
    assert [at.day for at in told] == [None, "2026-01-03", "2026-01-06", "2026-01-09", "2026-01-10"]
    server.tells_size = True
    told.clear()
    get(server, tmp_path / "b.jsonl", progress=told.append)
    assert [at.share and round(at.share, 2) for at in told] == [None, 0.3, 0.6, 0.9, 1.0]
    assert [at.n_records for at in told] == [0, 3, 6, 9, 10]


def test_less_than_the_server_told_is_a_warning(server: OaiServer, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its tokens count records from the beginning, and one of the first was changed meanwhile."""
    server.tells_size = True

    def move(n: int, query: dict[str, str]) -> None:
        if n == 2:
            server.records[0]["update_date"] = "2026-02-01"

    server.misbehave = move
    get(server, out, until="2026-01-31")
    assert ids(out) == names(0, 1, 2, 4, 5, 6, 7, 8, 9)
    assert f"{SET}: expected 10 records, found 9; fetch into a new file to have all" in caplog.text


def test_the_server_is_told_who_asks(server: OaiServer, out: Path) -> None:
    get(server, out, contact="ada@example.org")
    agent = server.headers[0]["User-Agent"]
    assert agent.startswith(f"embedsearch/{__version__} ")
    assert "ada@example.org" in agent
    assert server.headers[0]["From"] == "ada@example.org"


# Deletions, and papers that come more than once


def test_the_order_of_sets_does_not_matter(server: OaiServer, out: Path) -> None:
    get(server, out, sets=("physics:hep-ph", SET))
    assert get(server, out, sets=(SET, "physics:hep-ph")).n_all == 10


def test_deletions_are_written(server: OaiServer, out: Path) -> None:
    server.records[4] = deletion(4, "2026-01-05")
    report = get(server, out)
    assert read(out)[4] == deletion(4, "2026-01-05")
    assert (report.n_records, report.n_deleted, report.n_all) == (9, 1, 10)


def test_a_paper_in_two_sets_is_written_once(server: OaiServer, out: Path) -> None:
    server.records[2] |= {"categories": "astro-ph.GA hep-ph"}
    report = get(server, out, sets=("physics:hep-ph", SET))
    assert ids(out) == names(*range(10))
    assert report.n_records == 10


def test_what_came_last_of_an_id_stands(server: OaiServer, out: Path) -> None:
    """A paper changed while the harvest ran comes twice."""

    def change(n: int, query: dict[str, str]) -> None:
        if n == 3:
            server.records += [paper(0, "2026-01-31", title="New")]

    server.misbehave = change
    get(server, out)
    assert ids(out) == names(*range(1, 10), 0)
    assert read(out)[-1]["title"] == "New"


# Tokens that expire


def expired(*numbers: int) -> Any:
    return lambda n, query: fault("badResumptionToken", "expired") if n in numbers else None


def test_an_expired_token_begins_again_at_the_last_day(server: OaiServer, out: Path) -> None:
    server.misbehave = expired(3)
    report = get(server, out)
    assert [query.get("from") for query in server.queries] == [None, SINCE, None, None, "2026-01-06", None]
    assert ids(out) == names(*range(10))
    assert report.n_records == 10


def test_expired_tokens_where_days_went_back_begin_again_at_the_first_day(server: OaiServer, out: Path) -> None:
    """Only where days are in order is all that is before the last one here."""
    server.records[0]["update_date"], server.records[5]["update_date"] = "2026-01-06", "2026-01-01"
    server.misbehave = expired(3)
    matching = server._matching
    server._matching = lambda query: sorted(matching(query), key=lambda r: r["id"])  # type: ignore[method-assign]
    get(server, out)
    assert server.queries[4]["from"] == SINCE
    assert Counter(ids(out)) == Counter(names(*range(10)))
    assert [r["update_date"] for r in read(out)] == days(10)


def test_an_expired_token_after_a_day_that_has_not_come_begins_again_at_the_first_day(
    server: OaiServer, out: Path
) -> None:
    later = changed(lambda text: text.replace("<datestamp>2026-01-02", "<datestamp>9999-12-31"))
    server.misbehave = lambda n, query: later if n == 1 else expired(2)(n, query)
    get(server, out)
    assert server.queries[3]["from"] == SINCE
    assert Counter(ids(out)) == Counter(names(*range(10)))


def test_tokens_that_always_expire_are_an_error(server: OaiServer, out: Path) -> None:
    server.records = [paper(n, "2026-01-05") for n in range(10)]
    server.misbehave = lambda n, query: fault("badResumptionToken") if "resumptionToken" in query else None
    with pytest.raises(ServerError, match="4 expired ones in a row"):
        get(server, out)
    server.misbehave = lambda n, query: None
    assert get(server, out).n_records == 10


# Going on


def test_a_fetch_goes_on_after_an_error_with_its_token(server: OaiServer, out: Path) -> None:
    server.misbehave = lambda n, query: fault("badArgument", "broken") if n == 3 else None
    with pytest.raises(ServerError, match=r"found badArgument: broken"):
        get(server, out)
    assert not out.exists()
    seen = len(server.queries)
    report = get(server, out)
    assert ids(out) == names(*range(10))
    assert "resumptionToken" in server.queries[seen]
    assert (report.n_records, report.n_requests) == (10, 2)


@pytest.mark.parametrize("extra", [b"", b'{"id": "2005.0', b'{"id": "2005.00099", "update_date": "2026-01-05"}\n' * 3])
def test_bytes_behind_the_state_are_cut_off(server: OaiServer, out: Path, extra: bytes) -> None:
    server.misbehave = lambda n, query: fault("badArgument") if n == 3 else None
    with pytest.raises(ServerError):
        get(server, out)
    with open(out.with_name("papers.jsonl.part"), "ab") as file:
        file.write(extra)
    get(server, out)
    assert ids(out) == names(*range(10))


def test_a_part_that_was_cut_is_refused(server: OaiServer, out: Path) -> None:
    server.misbehave = lambda n, query: fault("badArgument") if n == 3 else None
    with pytest.raises(ServerError):
        get(server, out)
    out.with_name("papers.jsonl.part").write_bytes(b"")
    with pytest.raises(StoreCorrupt, match="found 0; remove it and papers"):
        get(server, out)


def test_a_complete_file_is_brought_up_to_date(server: OaiServer, out: Path) -> None:
    server.today = "2026-01-08"
    server.records = one_a_day(8)
    get(server, out)
    server.today = "2026-01-10"
    server.records = [*one_a_day(10)[:7], paper(7, "2026-01-08", title="Twice on a day"), *one_a_day(10)[8:]]
    server.records += [paper(3, "2026-01-09", title="New"), deletion(5, "2026-01-09")]
    report = get(server, out, since=None)
    assert [query["from"] for query in server.queries if "from" in query] == [SINCE, "2026-01-07"]
    assert ids(out) == names(0, 1, 2, 4, 6, 7, 8, 3, 5, 9)
    assert [r.get("title") for r in read(out) if r["id"] in names(7, 3)] == ["Twice on a day", "New"]
    assert (report.n_records, report.n_deleted, report.n_all) == (5, 1, 10)
    assert report.since == "2026-01-07"


def test_a_packed_file_is_brought_up_to_date(server: OaiServer, tmp_path: Path) -> None:
    out = tmp_path / "papers.jsonl.gz"
    server.today = "2026-01-10"
    get(server, out)
    server.records += [paper(3, "2026-01-11", title="New")]
    get(server, out)
    assert ids(out) == names(0, 1, 2, 4, 5, 6, 7, 8, 9, 3)


def test_an_update_is_the_same_file_as_one_fetch(server: OaiServer, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.jsonl", tmp_path / "twice.jsonl"
    get(server, twice, until="2026-01-04")
    get(server, twice)
    get(server, once)
    assert twice.read_bytes() == once.read_bytes()


def test_a_server_whose_clock_is_ahead_is_asked_again(server: OaiServer, out: Path) -> None:
    server.today = "2999-01-01"
    get(server, out)
    get(server, out)
    assert server.queries[-1]["from"] < "2999"


def test_an_end_that_has_been_reached_asks_nothing(server: OaiServer, out: Path) -> None:
    get(server, out)
    seen = len(server.queries)
    report = get(server, out, until="2026-01-05")
    assert (report.n_records, report.n_all, report.n_requests) == (0, 10, 0)
    assert len(server.queries) == seen


def test_a_file_that_was_taken_away_is_fetched_anew(server: OaiServer, out: Path) -> None:
    get(server, out)
    out.unlink()
    get(server, out, since="2026-01-09")
    assert ids(out) == names(8, 9)


def test_a_kill_between_placing_and_saying_so_changes_nothing(
    server: OaiServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(state: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("embedsearch.fetch.plan.end", killed)
    with pytest.raises(KeyboardInterrupt):
        get(server, out)
    monkeypatch.undo()
    before = out.read_bytes()
    report = get(server, out)
    assert out.read_bytes() == before
    assert (report.n_records, report.n_all, report.n_requests) == (10, 10, 0)


# What is refused


def refused(server: OaiServer, out: Path, error: type[EmbedsearchError], match: str, **options: Any) -> None:
    before = {path.name: path.read_bytes() for path in out.parent.iterdir() if path.is_file()}
    with pytest.raises(error, match=match):
        get(server, out, **options)
    after = {path.name: path.read_bytes() for path in out.parent.iterdir() if path.is_file()}
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sets": ("physics",)}, "was begun with physics:astro-ph as arXivRaw"),
        ({"prefix": "arXiv"}, "name another file with --out"),
        ({"since": "2025"}, "expected no day before 2026-01-01, found 2025-01-01"),
    ],
)
@pytest.mark.parametrize("is_complete", [True, False])
def test_other_records_do_not_go_into_the_same_file(
    server: OaiServer, out: Path, is_complete: bool, options: dict[str, Any], match: str
) -> None:
    server.misbehave = lambda n, query: fault("badArgument") if n == 3 and not is_complete else None
    if is_complete:
        get(server, out)
    else:
        with pytest.raises(ServerError):
            get(server, out)
    refused(server, out, OptionError, match, **options)


def test_an_unfinished_fetch_keeps_its_end(server: OaiServer, out: Path) -> None:
    server.misbehave = lambda n, query: fault("badArgument") if n == 3 else None
    with pytest.raises(ServerError):
        get(server, out, until="2026-01-20")
    refused(server, out, OptionError, r"\(2026-01-20\), found 2026-01-25; leave --until out", until="2026-01-25")
    assert get(server, out).until == "2026-01-20"


@pytest.mark.parametrize("name", ["papers.jsonl", "papers.jsonl.part"])
def test_files_of_others_are_kept(server: OaiServer, out: Path, name: str) -> None:
    out.with_name(name).write_text("mine\n")
    refused(server, out, OptionError, f"found .*{name}, which it did not")


def test_a_file_that_came_after_a_fetch_without_a_page_is_kept(server: OaiServer, out: Path) -> None:
    with pytest.raises(OptionError):
        get(server, out, sets=("zzz",))
    out.write_text("mine\n")
    refused(server, out, OptionError, "found .*papers.jsonl, which it did not")


def test_a_file_that_came_while_a_fetch_is_not_complete_is_kept(server: OaiServer, out: Path) -> None:
    server.misbehave = lambda n, query: fault("badArgument") if n == 3 else None
    with pytest.raises(ServerError):
        get(server, out)
    out.write_text("mine\n")
    refused(server, out, StoreCorrupt, r"as it was fetched \(0 bytes\), found 5 bytes")


def test_a_file_that_was_changed_is_kept(server: OaiServer, out: Path) -> None:
    get(server, out)
    out.write_text(out.read_text() + "{}\n")
    refused(server, out, StoreCorrupt, "as it was fetched")


def test_a_state_that_is_none_is_kept(server: OaiServer, out: Path) -> None:
    for text in (b"{}", b"\xff", b"[", b'{"format": 9}'):
        out.with_name("papers.jsonl.fetch.json").write_bytes(text)
        refused(server, out, StoreCorrupt, "expected the state of a fetch")


def test_a_state_whose_days_are_none_is_kept(server: OaiServer, out: Path) -> None:
    get(server, out)
    state = out.with_name("papers.jsonl.fetch.json")
    state.write_text(state.read_text().replace(SINCE, "soon"))
    refused(server, out, StoreCorrupt, "expected the state of a fetch")


def test_a_state_of_a_later_version_is_kept(server: OaiServer, out: Path) -> None:
    get(server, out)
    state = out.with_name("papers.jsonl.fetch.json")
    state.write_text(state.read_text().replace('"format": 1', '"format": 2'))
    refused(server, out, StoreCorrupt, "a later version's")


def test_two_at_once_are_refused(server: OaiServer, out: Path) -> None:
    with lock(out):
        refused(server, out, StoreLocked, "the only one that fetches into")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"since": "2999"}, "nothing is there yet"),
        ({"until": "2999-01-01"}, "nothing is there yet"),
        ({"since": "yesterday", "until": "2026-01"}, "an end not before the beginning"),
        ({"since": "2026-02-30"}, "expected a date such as"),
        ({"since": "last week"}, "expected a date such as"),
        ({"until": "2001"}, "an end not before the beginning"),
        ({"since": "1991", "until": "2001"}, "an end after 2005-09-16"),
        ({"since": "99999999d"}, "expected a date such as"),
        ({"sets": ()}, "expected sets"),
        ({"sets": ("",)}, "expected sets"),
        ({"sets": ("astro\nph",)}, "expected sets"),
        ({"sets": "physics"}, "expected sets"),
        ({"prefix": "oai_dc"}, "arXivRaw, arXiv"),
        ({"contact": "a\nb"}, "as contact"),
    ],
)
def test_what_cannot_be_is_refused(server: OaiServer, out: Path, options: dict[str, Any], match: str) -> None:
    refused(server, out, OptionError, match, **options)
    assert "ListRecords" not in verbs(server)


@pytest.mark.parametrize("name", ["papers.json", "papers", "papers.csv", "papers.gz", "."])
def test_other_kinds_of_files_are_refused(server: OaiServer, tmp_path: Path, name: str) -> None:
    refused(server, tmp_path / name, OptionError, "expected a file")


def test_a_folder_is_no_file(server: OaiServer, out: Path) -> None:
    out.mkdir()
    refused(server, out, OptionError, "found the folder")


def test_a_place_that_takes_no_file_is_an_error(server: OaiServer) -> None:
    with pytest.raises(StoreError, match=r"expected to write /proc/papers\.jsonl"):
        get(server, Path("/proc/papers.jsonl"))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("astro-ph", r"found 'astro-ph'; did you mean physics:astro-ph\?"),
        ("astro-ph.GA", r"did you mean physics:astro-ph:GA\?"),
        ("physics:astroph", r"did you mean physics:astro-ph or "),
        ("Physics:Astro-ph", r"did you mean physics:astro-ph\?"),
        ("nt", r"did you mean math:math:NT\?"),
        ("zzz", "it has 7, such as math, math:math:NT"),
    ],
)
def test_a_set_that_is_not_there_names_those_that_are_near(server: OaiServer, out: Path, name: str, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        get(server, out, sets=(name,))
    assert get(server, out).n_records == 10  # nothing was begun


def test_a_set_may_be_unknown_in_another_way(server: OaiServer, out: Path) -> None:
    server.misbehave = lambda n, query: fault("noRecordsMatch") if query["verb"] == "ListRecords" else None
    with pytest.raises(OptionError, match="did you mean"):
        get(server, out, sets=("physics:astroph",))
    assert get(server, out.with_name("b.jsonl")).n_all == 0


def test_a_server_without_sets_says_so_itself(server: OaiServer, out: Path) -> None:
    server.misbehave = lambda n, query: fault("noSetHierarchy") if query["verb"] == "ListSets" else None
    with pytest.raises(ServerError, match="badArgument: Set does not exist"):
        get(server, out, sets=("zzz",))


def test_a_server_without_the_format_says_so(server: OaiServer, out: Path) -> None:
    server.misbehave = lambda n, query: fault("cannotDisseminateFormat") if query["verb"] == "ListRecords" else None
    with pytest.raises(ServerError, match=r"as arXivRaw from .*, found cannotDisseminateFormat"):
        get(server, out)


def test_arxiv_is_never_asked_without_a_pause(out: Path) -> None:
    with pytest.raises(OptionError, match=r"a pause of at least 3 s for oaipmh.arxiv.org, found 1"):
        fetch([SET], out, pause=1.0)


@pytest.mark.parametrize(
    "url", ["ftp://x.org/oai", "x.org", "http://", "https://x.org/oai?verb=Identify", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(out: Path, url: str) -> None:
    with pytest.raises(OptionError, match="expected an address"):
        fetch([SET], out, base_url=url)


def test_a_password_is_not_kept(out: Path) -> None:
    with pytest.raises(OptionError, match=r"without a name and a password, found one for x\.org$"):
        fetch([SET], out, base_url="https://me:secret@x.org/oai")


# Kills


class Killed(BaseException):
    """What no code catches on purpose."""


def test_a_fetch_that_ends_at_any_step_goes_on(
    server: OaiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever something is synced or renamed. What SIGKILL does is in benchmarks/fetch_kills.py."""
    steps = [0]
    last = [0]

    def step(real: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any) -> None:
            steps[0] += 1
            if steps[0] == last[0]:
                raise Killed
            real(*arguments)

        return wrapped

    real_replace = os.replace
    undisturbed = tmp_path / "undisturbed.jsonl"
    get(server, undisturbed)
    monkeypatch.setattr("os.fsync", step(lambda descriptor: None))
    monkeypatch.setattr("os.replace", step(real_replace))
    for n in count(1):
        out = tmp_path / f"{n}.jsonl"
        steps[0], last[0] = 0, n
        try:
            get(server, out)
        except Killed:
            last[0] = 0
            get(server, out)
            assert out.read_bytes() == undisturbed.read_bytes(), n
            assert not out.with_name(f"{n}.jsonl.part").exists()
        else:
            break
    assert n > 20
