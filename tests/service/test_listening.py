"""Where the service listens: in both families, what is said of it, and networks that have one of them only."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.errors import SettingsError
from service.limits.hosts import plain_host, shown_address
from service.limits.request import Keys
from service.server import Server, listen
from service.settings import Settings
from tests.support.live import free_port, needs_ipv6, wait_until_ready
from tests.support.models import probe

ROOT = Path(__file__).parents[2]
KEY = "a-key-that-is-long-enough"
needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root, for networks of its own"
)


@pytest.fixture
def port() -> int:
    return free_port()


def reached(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 2):
            return True
    except OSError:
        return False


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("::", {"127.0.0.1", "::1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("127.0.0.1", {"127.0.0.1"}),
        ("::ffff:127.0.0.1", {"127.0.0.1"}),
        ("[::1]", {"::1"}),
        ("localhost", {address for *_, (address, *_) in socket.getaddrinfo("localhost", 0)}),
    ],
)
def test_a_host_is_listened_on_in_the_families_that_it_stands_for(host: str, addresses: set[str]) -> None:
    listeners = listen(plain_host(host), 0)
    port = listeners[0].getsockname()[1]
    try:
        found = {address for address in ("127.0.0.1", "::1") if reached(address, port)}
    finally:
        for listener in listeners:
            listener.close()
    assert found == addresses


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("[::1]", "http://[::1]:8000"),
        ("::ffff:127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000 and every other address of this machine"),
        ("::", "http://127.0.0.1:8000 and every other address of this machine"),
        ("[::]", "http://127.0.0.1:8000 and every other address of this machine"),
        ("2001:db8::1", "http://[2001:db8::1]:8000"),
    ],
)
def test_what_is_said_is_an_address_that_can_be_opened(host: str, shown: str) -> None:
    assert shown_address(plain_host(host), 8000) == shown


@needs_ipv6
def test_without_a_key_ipv6s_loopback_is_served_under_the_address_that_is_said(tmp_path: Path, port: int) -> None:
    environment = {"SALVER_MODEL": str(probe(tmp_path / "model.onnx")), "SALVER_DRAIN_SECONDS": "0"}
    command = [sys.executable, "-m", "service", "--host", "[::1]", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stderr is not None
            address = next(said for line in process.stderr if (said := re.search(r"on (http://\S+);", line)))[1]
            with httpx.Client(base_url=address) as client:
                wait_until_ready(client)
                assert client.get("/model").status_code == 200
                assert client.get("/model", headers={"Host": "evil.example"}).status_code == 421
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("", 8000, "no address is named"),
        ("127.0.0.1:8000", 8000, "Name or service not known|not known|failure in name resolution"),
        ("http://127.0.0.1", 8000, "not known|failure in name resolution"),
        ("[::1", 8000, "not known|failure in name resolution"),
        ("a" * 70, 8000, "no host name"),
        ("a..b", 8000, "no host name|not known|failure in name resolution"),
        ("127.0.0.1", -1, "between 0 and 65535"),
        ("127.0.0.1", 65_536, "between 0 and 65535"),
        ("192.0.2.1", 0, "no such address"),
    ],
)
def test_where_nothing_can_listen_is_said_in_one_line(host: str, port: int, words: str) -> None:
    with pytest.raises(SettingsError, match=f"^Cannot listen on .*({words}).*Choose others with --host and --port.$"):
        listen(plain_host(host), port)


@needs_ipv6
@pytest.mark.parametrize(("taken", "host"), [("0.0.0.0", "::"), ("127.0.0.1", "localhost"), ("::1", "::1")])
def test_a_port_that_is_taken_in_either_family_is_refused_and_nothing_stays_open(taken: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, 0), family=family) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=r": Address already in use\. Choose"):
            listen(host, port)
    for listener in listen("::", port):
        listener.close()


def test_with_port_0_the_port_that_was_given_is_known(tmp_path: Path) -> None:
    server = Server(Settings(model=str(tmp_path / "none.onnx"), url_fetch="off"), Keys([KEY]), "localhost", 0)
    assert server.port > 0
    for listener in server._sockets:
        assert listener.getsockname()[1] == server.port
        listener.close()


IN_A_NETWORK = """
import fcntl, json, os, pathlib, re, socket, struct, subprocess, sys, time
kind, model, health = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
pathlib.Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1" if kind == "IPv4" else "0")
pathlib.Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1" if kind == "IPv4" else "0")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running
    if kind == "IPv6":  # SIOCSIFADDR: no IPv4 address any more
        fcntl.ioctl(control, 0x8916, struct.pack("16sHH4s8x", b"lo", socket.AF_INET, 0, bytes(4)))
environment = {"SALVER_MODEL": model, "SALVER_API_KEYS": "a-key-that-is-long-enough", "SALVER_DRAIN_SECONDS": "0"}
command = [sys.executable, "-m", "service", *sys.argv[4:]]
with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
    try:
        lines = [next(process.stderr) for _ in range(2)]
        while "ready: " not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        found = []
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as caller:
                if caller.connect_ex((address, 8000)) == 0:
                    found.append(address)
        healthy = subprocess.run([sys.executable, *health[1:]], capture_output=True).returncode
        print(json.dumps({"found": found, "healthy": healthy, "log": "".join(lines)}))
    finally:
        process.terminate()
"""


@needs_namespaces
@needs_ipv6
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "addresses"), [("IPv4", ["127.0.0.1"]), ("IPv6", ["::1"])])
def test_the_images_own_command_serves_and_is_healthy_in_a_network_of_either_family(
    tmp_path: Path, kind: str, addresses: list[str]
) -> None:
    """A container of an engine without IPv6, and a pod of a cluster that has nothing else."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")  # as engines write it
    dockerfile = (ROOT / "Dockerfile.serve").read_text()
    health = re.search(r"^HEALTHCHECK .*\\\n *CMD (\[.*\])$", dockerfile, re.MULTILINE)
    arguments = re.search(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)
    assert health is not None
    assert arguments is not None
    command = ["unshare", "--net", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    command += [sys.executable, "-c", IN_A_NETWORK, kind, str(probe(tmp_path / "model.onnx"))]
    command += [health[1], *json.loads(arguments[1])]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["found"], said["healthy"]) == (addresses, 0)
    assert "listening on http://127.0.0.1:8000 and every other address" in said["log"]


WITHOUT_IPV6 = """
import ctypes, struct, sys
# seccomp: socket(AF_INET6, …) fails with EAFNOSUPPORT, as on a kernel that was started with ipv6.disable=1.
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, 41), (0x20, 0, 0, 16), (0x15, 0, 1, 10)]
steps += [(0x06, 0, 0, 0x00050061), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
import socket
from service.server import listen
assert not socket.has_dualstack_ipv6()
for host in ("::", "localhost", "0.0.0.0"):
    (listener,) = listen(host, 0)
    print(listener.getsockname()[0])
    listener.close()
"""


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="the filter's numbers are those of Linux on x86-64",
)
def test_on_a_kernel_without_ipv6_all_addresses_are_ipv4s() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT_IPV6], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["0.0.0.0", "127.0.0.1", "0.0.0.0"]
