"""`embedsearch serve` and `embedsearch keys`: what they are told, and how they refuse."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path
from unittest import mock

import pytest
from running import Done, run
from serving import make_store

from embedsearch.errors import StoreError
from embedsearch.server.keys import Keys, Role
from embedsearch.server.listening import listen
from embedsearch.server.options import ServeOptions


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cli"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without keys."""
    for name in ("EMBEDSEARCH_API_KEY", "EMBEDSEARCH_KEYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path


def told(*arguments: str | Path, home: Path, env: dict[str, str] | None = None) -> ServeOptions:
    """What the command tells the server."""
    with mock.patch("embedsearch.server.run.serve") as serve:
        done = run("serve", *arguments, cwd=home, env=env)
    assert done.returncode == 0, done.stderr
    options = serve.call_args.args[0]
    assert isinstance(options, ServeOptions)
    return options


def test_bare_it_serves_the_default_index_on_loopback(home: Path) -> None:
    options = told(home=home)
    assert options == ServeOptions(index=Path("indexes/default"))


def test_every_option_arrives(home: Path) -> None:
    words = (
        "--index i --host localhost --port 9 --workers 3 --model m --keys k --public-read --insecure --allow-host a"
        " --allow-host b --log-format json --max-k 1 --max-text 2 --max-texts 3 --max-body 4 --max-connections 5"
        " --queue 6 --time-limit 7 --receive-limit 8 --drain 9 --batch 10 --cache 11 --device cpu --dtype float32"
        " --no-day"
    )
    options = told(*words.split(), home=home)
    assert (options.index, options.host, options.port, options.workers) == (Path("i"), "localhost", 9, 3)
    assert (options.model, options.keys_file, options.log_format) == ("m", Path("k"), "json")
    assert (options.public_read, options.insecure, options.allowed_hosts) == (True, True, ("a", "b"))
    assert options.show_day is False
    limits = dataclasses.asdict(options.limits)
    assert [limits[name] for name in ("k", "text", "n_texts", "body", "connections")] == [1, 2, 3, 4, 5]
    assert [limits[name] for name in ("queue", "seconds", "receive_seconds", "drain_seconds")] == [6, 7, 8, 9]
    assert (options.batching.max_texts, options.batching.cached_queries) == (10, 11)
    assert (options.compute.device, options.compute.dtype) == ("cpu", "float32")


def test_keys_of_the_environment_and_of_the_settings(home: Path) -> None:
    assert told(home=home, env={"EMBEDSEARCH_KEYS": "elsewhere"}).keys_file == Path("elsewhere")
    assert told(home=home).keys_file is None
    run("keys", "add", "ada", cwd=home)
    assert told(home=home).keys_file == home / "settings" / "embedsearch" / "keys.json"


@pytest.mark.parametrize(
    "wrong",
    [
        "--port 70000",
        "--port x",
        "--workers 0",
        "--max-k 0",
        "--time-limit 0",
        "--log-format xml",
        "--cache -1",
        "extra",
    ],
)
def test_a_wrong_command_line_is_exit_2(home: Path, wrong: str) -> None:
    assert run("serve", *wrong.split(), cwd=home).returncode == 2


def one_line(done: Done) -> str:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: expected ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_what_cannot_be_served_is_one_line_and_exit_1(home: Path, index: Path) -> None:
    assert "none" in one_line(run("serve", "--index", "none", "--port", 0, cwd=home))
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in one_line(run("serve", "--index", index, "--port", str(port), cwd=home))
    assert "--insecure" in one_line(run("serve", "--index", index, "--host", "0.0.0.0", cwd=home))
    assert "keys add" in one_line(run("serve", "--index", index, "--keys", "none.json", cwd=home))


def test_without_the_servers_libraries_it_says_what_to_install(home: Path) -> None:
    with mock.patch.dict("sys.modules", {"embedsearch.server.run": None, "uvicorn": None}):
        # As Python says it of a library
        missing = ImportError("No module named 'uvicorn'", name="uvicorn")
        with mock.patch("builtins.__import__", side_effect=failing("embedsearch.server.run", missing)):
            done = run("serve", cwd=home)
    assert done.returncode == 1
    assert "found no uvicorn: pip install 'embedsearch[serve]'" in done.stderr


def failing(module: str, error: ImportError):  # type: ignore[no-untyped-def]
    """An import that fails for one module."""
    real = __import__

    def load(name, *rest, **more):  # type: ignore[no-untyped-def]
        if name == module:
            raise error
        return real(name, *rest, **more)

    return load


def test_a_key_from_add_to_remove(home: Path) -> None:
    file = home / "settings" / "embedsearch" / "keys.json"
    assert run("keys", "list", cwd=home).returncode == 0  # none yet
    added = run("keys", "add", "ada", "--role", "admin", cwd=home)
    token = added.stdout.strip()
    assert token.startswith("es_")
    assert token not in added.stderr
    assert str(file) in added.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Keys(file, None).role_of(token) is Role.ADMIN
    listed = run("keys", "list", cwd=home).stdout
    assert "ada" in listed
    assert "admin" in listed
    (entry,) = json.loads(run("keys", "list", "--format", "json", cwd=home).stdout)
    assert set(entry) == {"name", "role", "created"}
    assert "Removed ada" in run("keys", "remove", "ada", cwd=home).stderr
    assert Keys(file, None).role_of(token) is None


def test_keys_refuse_in_one_line(home: Path) -> None:
    run("keys", "add", "ada", "--keys", "k.json", cwd=home)
    assert "there is a key ada" in one_line(run("keys", "add", "ada", "--keys", "k.json", cwd=home))
    assert "'eve'" in one_line(run("keys", "remove", "eve", "--keys", "k.json", cwd=home))
    assert "letters" in one_line(run("keys", "add", "a b", "--keys", "k.json", cwd=home))
    (home / "k.json").write_text("{")
    assert "file of keys" in one_line(run("keys", "list", "--keys", "k.json", cwd=home))
    assert run("keys", "add", "eve", "--role", "root", cwd=home).returncode == 2
    assert run("keys", "list", "--keys", "none.json", cwd=home).returncode == 1
    with mock.patch("embedsearch.server.keys._write", side_effect=StoreError("expected to write, found no space")):
        assert "no space" in one_line(run("keys", "add", "eve", "--keys", "new.json", cwd=home))
