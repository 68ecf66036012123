"""Debian's nginx with the configuration that is shipped, on loopback ports, in front of a server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SHIPPED = Path(__file__).parents[1] / "deploy" / "nginx.conf"

MAIN = """daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/shipped.conf;
}}
"""


@contextmanager
def in_front(url: str, folder: Path, *, changed: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of an nginx that passes on to the server at `url`; `changed` has texts of the configuration to replace.

    Ports and the place of the log are replaced in any case. Each text must be there.
    """
    folder = folder / "nginx"
    folder.mkdir(exist_ok=True)
    port = free_port()
    ours = {
        "server 127.0.0.1:8000 ": f"server {url.removeprefix('http://')} ",
        "listen 80;": f"listen 127.0.0.1:{port};",
        "/var/log/nginx/embedsearch.log": f"{folder}/access.log",
    }
    text = SHIPPED.read_text()
    for before, after in (ours | dict(changed or {})).items():
        assert before in text, f"{SHIPPED} has no {before}"
        text = text.replace(before, after)
    (folder / "shipped.conf").write_text(text)
    (folder / "main.conf").write_text(MAIN.format(folder=folder))
    assert NGINX is not None
    with (folder / "stderr.txt").open("w") as errors:
        process = subprocess.Popen([NGINX, "-c", str(folder / "main.conf")], stderr=errors)
    try:
        _wait_for(process, port, folder)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    for _ in range(500):
        if process.poll() is not None:
            raise AssertionError(f"nginx ended: {(folder / 'stderr.txt').read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("nginx did not listen")
