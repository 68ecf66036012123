"""Keys: kept as hashes, added and removed while a server runs, and what opens without one."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import in_process, make_store

from embedsearch.errors import OptionError, ServerError, StoreError
from embedsearch.server.keys import Keys, Role, add_key, read_keys, remove_key


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings" / "keys.json"


def test_a_key_is_shown_once_and_kept_as_a_hash_that_its_owner_alone_can_read(file: Path) -> None:
    token = add_key(file, "ada", role=Role.READ)
    assert token.startswith("es_")
    assert len(token) >= 46
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token not in file.read_text()
    (kept,) = json.loads(file.read_text())["keys"]
    assert (kept["name"], kept["role"]) == ("ada", "read")
    assert kept["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert Keys(file, None).role_of(token) is Role.READ
    assert Keys(file, None).role_of(token[:-1]) is None


def test_a_group_that_may_read_the_file_still_may_after_a_change(file: Path) -> None:
    add_key(file, "ada", role=Role.READ)
    file.chmod(0o644)
    add_key(file, "ben", role=Role.READ)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_name_is_taken_once_and_is_plain(file: Path) -> None:
    add_key(file, "ada", role=Role.READ)
    with pytest.raises(OptionError, match="there is a key ada"):
        add_key(file, "ada", role=Role.ADMIN)
    with pytest.raises(OptionError, match="letters, digits"):
        add_key(file, "a\nb", role=Role.READ)
    with pytest.raises(OptionError, match=r"\(ada\), found 'eve'"):
        remove_key(file, "eve")


def test_keys_added_at_once_are_all_kept(file: Path) -> None:
    threads = [threading.Thread(target=add_key, args=(file, f"k{i}"), kwargs={"role": Role.READ}) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in read_keys(file)) == [f"k{i}" for i in range(8)]


def test_keys_come_and_go_while_it_runs(file: Path) -> None:
    first = add_key(file, "ada", role=Role.READ)
    keys = Keys(file, None)
    second = add_key(file, "ben", role=Role.ADMIN)
    assert keys.role_of(second) is Role.ADMIN
    remove_key(file, "ada")
    assert keys.role_of(first) is None
    remove_key(file, "ben")
    assert keys.role_of(second) is None
    assert keys.required  # to take the last key away must not open the server


@pytest.mark.parametrize("content", ["{", "{}", '{"keys": [{"name": "a"}]}', "[]", b"\xff\xfe", None])
def test_a_broken_file_changes_nothing_for_a_server_and_stops_one_that_starts(
    file: Path, content: str | bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    token = add_key(file, "ada", role=Role.READ)
    keys = Keys(file, None)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    assert keys.role_of(token) is Role.READ
    assert keys.required
    assert "keys that were there before go on" in caplog.text
    with pytest.raises(ServerError, match=r"expected a file of keys in .*, found: "):
        Keys(file, None)


def test_a_hash_that_is_none_is_refused(file: Path) -> None:
    add_key(file, "ada", role=Role.READ)
    file.write_text(file.read_text().replace(read_keys(file)[0].sha256, "ü" * 64))
    with pytest.raises(ServerError, match="sha256"):
        read_keys(file)


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="expected to write"):
        add_key(tmp_path / "file" / "keys.json", "ada", role=Role.READ)


def test_the_key_of_the_environment_may_read(file: Path) -> None:
    assert Keys(None, " abc ").role_of("abc") is Role.READ
    assert Keys(None, "abc").required
    assert not Keys(None, "").required
    assert not Keys(None, None).required
    with pytest.raises(OptionError, match="visible ASCII"):
        Keys(None, "a b")
    token = add_key(file, "ada", role=Role.ADMIN)
    assert Keys(file, token).role_of(token) is Role.ADMIN


def test_every_key_is_compared_whatever_was_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [add_key(file, f"k{i}", role=Role.READ) for i in range(3)]
    keys, compared = Keys(file, "env"), []

    def compare(known: str, given: str) -> bool:
        compared.append(known)
        return real(known, given)

    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for token in (tokens[0], tokens[2], "env", "none"):
        compared.clear()
        keys.role_of(token)
        assert len(compared) == 4


@pytest.fixture
def guarded(index: Path, file: Path) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    tokens = {role.value: add_key(file, role.value, role=role) for role in Role}
    with in_process(index, keys_file=file) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client, tokens


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_key_opens_what_its_role_may(guarded: tuple[httpx.Client, dict[str, str]]) -> None:
    client, tokens = guarded
    for token in tokens.values():
        assert client.get("/v1/search?q=star&mode=keyword", headers=bearer(token)).status_code == 200
        assert client.get("/metrics", headers={"authorization": f"bEARER {token}"}).status_code == 200
    refused = client.post("/v1/reload", headers=bearer(tokens["read"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "NotAllowed")
    assert client.post("/v1/reload", headers=bearer(tokens["admin"])).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer es_x", "Basic YTpi", "es_x", "Bearer a b", "Bearer ü"])
@pytest.mark.parametrize("path", ["/v1/search?q=star", "/v1/info", "/v1/papers/2001.10000", "/metrics"])
def test_without_a_key_nothing_is_answered(
    guarded: tuple[httpx.Client, dict[str, str]], header: str, path: str
) -> None:
    refused = guarded[0].get(path, headers={"Authorization": header.encode()})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "es_x" not in refused.text


def test_what_is_open_without_a_key(guarded: tuple[httpx.Client, dict[str, str]]) -> None:
    assert [guarded[0].get(path).status_code for path in ("/healthz", "/readyz", "/")] == [200, 200, 200]


def test_keys_rotate_without_a_restart(guarded: tuple[httpx.Client, dict[str, str]], file: Path) -> None:
    client, tokens = guarded
    new = add_key(file, "new", role=Role.READ)
    assert client.get("/v1/info", headers=bearer(new)).status_code == 200
    remove_key(file, "read")
    assert client.get("/v1/info", headers=bearer(tokens["read"])).status_code == 401


def test_public_reading_keeps_the_rest_closed(index: Path, file: Path) -> None:
    token = add_key(file, "ada", role=Role.READ)
    with in_process(index, keys_file=file, public_read=True) as url, httpx.Client(base_url=url) as client:
        assert client.get("/v1/info").status_code == 200
        assert client.get("/v1/info", headers=bearer("whatever")).status_code == 200
        assert client.post("/v1/reload").status_code == 401
        assert client.post("/v1/reload", headers=bearer(token)).status_code == 403


def test_there_is_no_reload_without_a_key(index: Path) -> None:
    with in_process(index) as url:
        assert httpx.post(f"{url}/v1/reload").status_code == 401
        assert httpx.get(f"{url}/v1/info", headers=bearer("any")).status_code == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_adds_a_key_to_the_file_of_a_service(file: Path) -> None:
    add_key(file, "ada", role=Role.READ)
    os.chown(file, 12345, 12346)
    add_key(file, "ben", role=Role.READ)
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 12346)
