"""Errors leave a server as problem documents, with a status, a code that a client knows, and no secret."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_encoder import FakeEncoder
from serving import in_process, make_store

from embedsearch import errors
from embedsearch.encoders import Encoded, Prepared
from embedsearch.errors import EmbedsearchError
from embedsearch.server.failures import places
from embedsearch.server.problems import internal_error, problem, problem_of, without_folder

STATUSES = {
    "OptionError": 422, "QueryError": 422, "OverLimit": 422, "BadVector": 422, "PaperNotFound": 404, "NotAllowed": 401,
    "ModelNotFound": 409, "RecipeMismatch": 409, "StoreError": 409, "EncoderError": 409, "Overloaded": 503,
    "StoreNotFound": 503, "StoreCorrupt": 503, "StoreTooNew": 503, "StoreLocked": 503, "TookTooLong": 504,
}  # fmt: skip


@pytest.mark.parametrize(("name", "status"), list(STATUSES.items()))
def test_each_error_has_its_status_and_its_name_as_code(name: str, status: int) -> None:
    answer = problem_of(getattr(errors, name)("expected this, found that"), request_id="r1")
    assert answer.status_code == status
    assert answer.media_type == "application/problem+json"
    said = json.loads(bytes(answer.body))
    assert said == {
        "type": "about:blank", "title": said["title"], "status": status, "detail": "expected this, found that",
        "code": name, "request_id": "r1",
    }  # fmt: skip
    assert said["title"]


def test_what_is_no_fault_of_a_request_says_nothing() -> None:
    for error in (errors.CorpusError("/home/secret"), EmbedsearchError("/home/secret")):
        answer = problem_of(error)
        assert answer.status_code == 500
        assert b"secret" not in bytes(answer.body)
        assert json.loads(bytes(answer.body))["code"] == "InternalError"
    assert internal_error(request_id="r2").status_code == 500


def test_headers_say_when_to_come_back_and_how_to_ask() -> None:
    assert problem_of(errors.Overloaded("full", retry_after=7)).headers["retry-after"] == "7"
    assert problem_of(errors.StoreCorrupt("cut")).headers["retry-after"] == "5"
    assert problem_of(errors.NotAllowed("no key")).headers["www-authenticate"] == "Bearer"
    refused = problem_of(errors.NotAllowed("no admin", status=403))
    assert refused.status_code == 403
    assert "www-authenticate" not in refused.headers


def test_an_error_of_a_private_class_is_known_by_its_public_one() -> None:
    class Private(errors.ModelNotFound):
        status = 404

    said = json.loads(bytes(problem_of(Private("expected a, found b")).body))
    assert (said["code"], said["status"]) == ("ModelNotFound", 404)


def test_an_index_is_named_without_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "papers", Path("papers")):
        text = f"expected {folder / 'ann-1.faiss'}, found none in {tmp_path / 'papers'}"
        assert without_folder(text, folder) == "expected papers/ann-1.faiss, found none in papers"
    assert without_folder(f"expected 1.5 in {tmp_path}.", Path(".")) == f"expected 1.5 in {tmp_path.name}."
    assert without_folder("as it is", None) == "as it is"


def test_lone_surrogates_can_be_told() -> None:
    errors = [{"at": "q", "expected": "text", "found": "\ud800"}]
    said = json.loads(bytes(problem(400, "found \ud800", code="QueryError", errors=errors).body))
    assert said["detail"] == "found ?"
    assert said["errors"][0]["found"] == "?"


def test_of_several_types_only_the_fault_of_the_right_one_is_told() -> None:
    text = {"type": "string_type", "loc": ("body", "query", "constrained-str"), "msg": "", "input": ["a", 5]}
    inner = {"type": "string_type", "loc": ("body", "query", "list[constrained-str]", 1), "msg": "", "input": 5}
    assert places([text, inner]) == [{"at": "body.query.1", "expected": "a text", "found": "5"}]
    other = {"type": "list_type", "loc": ("body", "query", "list[constrained-str]"), "msg": "", "input": 5}
    assert places([text | {"input": 5}, other]) == [{"at": "body.query", "expected": "a text or a list", "found": "5"}]
    short = {"type": "too_short", "loc": ("body", "query"), "msg": "", "input": [], "ctx": {"min_length": 1}}
    assert places([text | {"input": []}, short]) == [
        {"at": "body.query", "expected": "a list of at least 1", "found": "a list of 0"}
    ]


class Broken(FakeEncoder):
    """Has a bug that one text brings out."""

    def encode_prepared(self, prepared: Prepared, **more: Any) -> Encoded:
        if "BUG" in prepared.content:
            raise ZeroDivisionError("the secret")
        return super().encode_prepared(prepared, **more)


def test_a_bug_is_logged_with_its_traceback_and_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = make_store(tmp_path)
    with in_process(index, encoder=Broken()) as url:
        answer = httpx.get(f"{url}/v1/search?q=BUG", trust_env=False)
    assert answer.status_code == 500
    assert answer.json()["code"] == "InternalError"
    assert "secret" not in answer.text
    logged = [record for record in caplog.records if record.exc_info and record.levelno == logging.ERROR]
    assert any(isinstance(record.exc_info[1], ZeroDivisionError) for record in logged if record.exc_info)
    assert any(answer.json()["request_id"] in record.getMessage() for record in logged)
