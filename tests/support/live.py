"""Real servers on loopback for tests."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from salver.deployment.ready import free_port as free_port
from salver.deployment.ready import process_of, serve_command
from service.limits.request import read_keys
from service.server import Server
from service.settings import Settings

ROOT = Path(__file__).parents[2]
needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@contextmanager
def running_server(model: Path | str, **settings: object) -> Iterator[Server]:
    """The service in a thread of this process; it listens, and may still load its model."""
    values = Settings.model_validate({"model": str(model), "drain_seconds": 0.0, **settings})
    server = Server(values, read_keys(values), "127.0.0.1", free_port())
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def running_service(model: Path | str, until_ready: bool = True, **settings: object) -> Iterator[httpx.Client]:
    """The service in a thread of this process, ready; yields an HTTP client whose base URL it is."""
    with (
        running_server(model, **settings) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client,
    ):
        if until_ready:
            wait_until_ready(client)
        yield client


def service_process(model: Path | str, port: int, **environment: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """The service as the process that a container runs; ended when the block is left."""
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "SALVER_MODEL": str(model)} | measured | environment
    return process_of(serve_command(port), variables, subprocess.PIPE)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing on standard error."""


@contextmanager
def serving_folder(folder: Path) -> Iterator[str]:
    """The folder's files over HTTP; yields the address that they lie under, without a slash at its end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def wait_until_ready(client: httpx.Client, attempts: int = 500, path: str = "/readyz") -> None:
    """Ask `path` until it says yes, for `attempts` times 20 ms."""
    for _ in range(attempts):
        try:
            if client.get(path).is_success:
                return
        except httpx.TransportError:  # nothing listens yet; or only Docker does, which takes a connection and ends it
            pass
        threading.Event().wait(0.02)
    raise AssertionError(f"{client.base_url} did not become ready")
