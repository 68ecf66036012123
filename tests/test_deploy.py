"""What is shipped for running the server: the systemd unit, the container, the alerts, and the page on all of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import click
import httpx
import pytest
from serving import in_process, make_store

from embedsearch.cli.main import cli
from embedsearch.server.options import Limits

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def seconds(directive: str, text: str) -> float:
    found = re.search(rf"^\s*{directive}[ =](\d+)s?;?$", text, re.MULTILINE)
    assert found, directive
    return float(found[1])


def test_the_proxy_fits_the_servers_limits() -> None:
    text, limits = (DEPLOY / "nginx.conf").read_text(), Limits()
    assert f"client_max_body_size {limits.body >> 20}m;" in text
    assert seconds("client_header_timeout", text) == seconds("client_body_timeout", text) == limits.receive_seconds
    assert seconds("proxy_read_timeout", text) > limits.seconds


UNIT = (DEPLOY / "embedsearch.service").read_text()


def told(text: str) -> str:
    """A command line that goes on after backslashes, as one line."""
    return text.replace("\\\n", " ")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("deploy"))


def parses(words: list[str]) -> None:
    """`embedsearch WORDS` is a command with options that exist; raises click's error otherwise."""
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None, words[0]
    command.make_context(words[0], words[1:])


def test_the_unit_starts_a_command_that_exists_and_waits_for_the_drain() -> None:
    start = re.search(r"^ExecStart=(.*)$", told(UNIT), re.MULTILINE)
    assert start
    parses(shlex.split(start[1])[1:])
    assert seconds("TimeoutStopSec", UNIT) > Limits().drain_seconds


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "embedsearch.service"
    unit.write_text(UNIT.replace("/opt/embedsearch/bin/embedsearch", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=True)
    assert "embedsearch.service" not in done.stderr + done.stdout


CONTAINERFILE = (DEPLOY / "Containerfile").read_text()


def instructions(name: str) -> list[str]:
    lines = "\n".join(line for line in CONTAINERFILE.splitlines() if not line.startswith("#"))
    return re.findall(rf"^{name} (.*)$", told(lines), re.MULTILINE)


def test_the_containers_run_steps_work_as_a_script(tmp_path: Path) -> None:
    """In folders of its own; pip finds what these tests run with, and fetches nothing. Users are the system's."""
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for line in instructions("COPY"):
        *names, _ = line.split()
        for name in names:
            whole = ROOT / name
            if whole.is_dir():
                shutil.copytree(whole, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(whole, source / name)
    steps = [step for step in instructions("RUN") if not step.startswith("useradd ")]
    assert [step.split()[0] for step in steps] == ["python", "/opt/embedsearch/bin/pip", "/opt/embedsearch/bin/pip"]
    make, *installs = (step.replace("/opt/embedsearch", str(target)) for step in steps)
    _sh(make.replace(" -m venv ", " -m venv --without-pip "), source)
    pip = f"{sys.executable} -m pip --python {target}/bin/python"
    packages = next(target.glob("lib/*/site-packages"))
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for step in installs:
        offline = step.replace(" install ", " install --no-deps --no-index --no-build-isolation --quiet ")
        _sh(offline.replace(f"{target}/bin/pip", pip), source)
    assert package_files(packages / "embedsearch") == package_files(ROOT / "embedsearch")
    served = [*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(instructions("CMD")[0])]
    done = subprocess.run([target / "bin" / served[0], *served[1:], "--help"], capture_output=True, check=True)
    assert b"Usage: embedsearch serve" in done.stdout


def package_files(folder: Path) -> set[Path]:
    return {
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }


def _sh(step: str, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(["sh", "-euc", step], cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"


def test_what_the_container_starts_parses() -> None:
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["embedsearch", "serve"]
    parses(["serve", *json.loads(instructions("CMD")[0])])


def test_the_health_check_asks_what_the_server_answers(index: Path) -> None:
    (check,) = (line.split("CMD ", 1)[1] for line in instructions("HEALTHCHECK"))
    words = json.loads(check)
    with in_process(index) as url:
        command = [sys.executable, *(word.replace("http://127.0.0.1:8000", url) for word in words[1:])]
        subprocess.run(command, check=True)
    assert subprocess.run(command, capture_output=True).returncode != 0


ALERTS = (DEPLOY / "alerts.yml").read_text()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Debian's package prometheus")
def test_each_alert_fires_when_it_should() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", "tests/alerts_test.yml"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case() -> None:
    cases = (ROOT / "tests" / "alerts_test.yml").read_text()
    names = re.findall(r"- alert: (\w+)", ALERTS)
    assert len(names) == 7
    assert all(f'alertname="{name}"' in cases for name in names)


DEPLOY_PAGE = (ROOT / "docs" / "deploy.md").read_text()


@pytest.fixture(scope="module")
def metrics(index: Path) -> str:
    with in_process(index) as url:
        httpx.get(f"{url}/v1/search?q=star", trust_env=False)
        return httpx.get(f"{url}/metrics", trust_env=False).text


@pytest.mark.parametrize("name", sorted(set(re.findall(r"embedsearch_[a-z_]+", ALERTS + DEPLOY_PAGE))))
def test_each_metric_that_is_named_is_there(metrics: str, name: str) -> None:
    assert re.search(rf"^(# TYPE )?{name}[ {{]", metrics, re.MULTILINE)


def test_each_metric_that_is_there_is_in_the_page(metrics: str) -> None:
    there = {name for name in re.findall(r"^# TYPE (\S+) ", metrics, re.MULTILINE) if not name.endswith("_created")}
    assert {name for name in there if f"`{name}`" not in DEPLOY_PAGE} == set()
