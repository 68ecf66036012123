"""`embedsearch mcp`: over standard input and output, and over HTTP."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client as McpClient
from mcp import StdioServerParameters
from mcp_answers import content, refusal
from running import run
from serving import in_process, make_store

from embedsearch.integrations.mcp import MAX_BODY


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="module")
def url(index: Path) -> Iterator[str]:
    with in_process(index) as url:
        yield url


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "embedsearch", "mcp", *arguments]


async def test_over_standard_input_and_output(index: Path) -> None:
    program, *rest = command("--index", str(index))
    async with McpClient(StdioServerParameters(command=program, args=rest)) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} >= {"search_papers", "get_paper"}
        assert content(await client.call_tool("get_paper", {"id": "2001.10000"}))["id"] == "2001.10000"
        arguments = {"query": "star", "mode": "keyword", "k": 3}
        assert len(content(await client.call_tool("search_papers", arguments))["papers"]) == 3


HANDSHAKE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@contextmanager
def started(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command(*arguments), text=True, **{**pipes, **more})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("end", ["end of input", "SIGTERM"])
def test_ends_well_and_writes_the_protocol_alone(url: str, end: str) -> None:
    with started("--url", url, "-v") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = [HANDSHAKE, {"jsonrpc": "2.0", "method": "notifications/initialized"}]
        process.stdin.write("".join(json.dumps(line) + "\n" for line in lines) + "no JSON\n")
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        assert first["result"]["serverInfo"]["name"] == "embedsearch"
        if end == "SIGTERM":
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait(30) == 0
        else:
            rest, _ = process.communicate(timeout=30)
            assert process.returncode == 0
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())


@contextmanager
def listening(index: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with started("--index", str(index), "--http", "--port", "0", *arguments, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("Listening on http://127.0.0.1:"), line
        address = line.split()[-1]
        wait_for(address)
        yield address, process


def wait_for(address: str) -> None:
    url = httpx.URL(address)
    for _ in range(600):
        try:
            socket.create_connection((url.host, url.port or 80)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing listens at {address}")


async def test_over_http(index: Path) -> None:
    with listening(index, "--allow-host", "papers.example") as (address, process):
        async with McpClient(address) as client:
            assert content(await client.call_tool("get_paper", {"id": "2001.10000"}))["id"] == "2001.10000"
            assert "9.9" in refusal(await client.call_tool("get_paper", {"id": "9.9"}))
        headers = {"Accept": "application/json, text/event-stream"}
        answered = httpx.post(address, json=HANDSHAKE, headers=headers)
        assert answered.status_code == 200
        allowed = httpx.post(address, json=HANDSHAKE, headers=headers | {"Host": "papers.example"})
        assert allowed.status_code == 200
        for more in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert httpx.post(address, json=HANDSHAKE, headers=headers | more).status_code in (403, 421)
        huge = {**HANDSHAKE, "padding": "x" * MAX_BODY}
        assert httpx.post(address, json=huge, headers=headers).status_code == 413
        taken = run("mcp", "--index", index, "--http", "--port", str(httpx.URL(address).port), cwd=index.parent)
        assert taken.returncode == 1
        assert taken.stderr.startswith("Error: expected port ")
        assert taken.stderr.count("\n") == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--index", "none"), 1, "Error: expected "),
        (("--url", "localhost:8000"), 1, "Error: expected an address like http://127.0.0.1:8000"),
        (("--index", "index", "--url", "http://x"), 2, "Expected --index or --url"),
        (("--index", "index", "--port", "8001"), 2, "Expected --http with --port"),
        (("--index", "index", "--http", "--host", "0.0.0.0"), 1, "Error: expected a host of 127.0.0.1"),
    ],
)
def test_what_the_command_refuses(index: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = run("mcp", *arguments, cwd=index.parent)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stdout == ""
