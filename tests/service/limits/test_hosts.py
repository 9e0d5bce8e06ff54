"""DNS rebinding: another site's name that leads to this machine."""

from pathlib import Path

import httpx
import pytest

from service.limits.hosts import is_local
from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

RED = solid((200, 30, 40))


@pytest.mark.parametrize(
    ("host", "own"),
    [
        *(
            (name, True)
            for name in ("127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]", "[::1]:8000", "::1")
        ),
        *(
            (name, True)
            for name in ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]:8000", "[0:0:0:0:0:0:0:1]", "::ffff:127.0.0.1")
        ),
        *(
            (name, False)
            for name in ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io")
        ),
        *((name, False) for name in ("10.0.0.1", "", "[fe80::1]", "localhost@evil.example", "[::ffff:10.0.0.1]")),
        *((name, False) for name in ("[::1]evil.example", "[::1].evil.example:80", "::1:8000")),
    ],
)
def test_the_names_of_loopback_are_own_and_no_others(host: str, own: bool) -> None:
    assert is_local([(b"accept", b"x"), (b"host", host.encode())]) == own


def test_a_request_without_a_host_is_local_and_one_with_two_is_what_both_are() -> None:
    assert is_local([])
    assert not is_local([(b"host", b"localhost"), (b"host", b"evil.example")])


def ask(client: httpx.Client, host: str, path: str = "/score") -> httpx.Response:
    return client.post(path, content=RED, headers={"Host": host, "Content-Type": "image/png"})


def test_a_loopback_service_without_a_key_refuses_other_hosts_in_the_documented_form(tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx")) as client:
        port = client.base_url.port
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", f"[::1]:{port}"):
            assert ask(client, host).status_code == 200
        refused = ask(client, f"evil.example:{port}")
        assert (refused.status_code, refused.headers["content-type"]) == (421, "application/problem+json")
        assert "SALVER_ALLOW_ANONYMOUS" in refused.json()["detail"]
        assert "evil" not in refused.text
        protocol = ask(client, "evil.example", "/v2/models/salver/infer")
        assert (protocol.status_code, list(protocol.json())) == (421, ["error"])
        for path in ("/", "/docs", "/model", "/metrics", "/healthz", "/openapi.json"):
            assert client.get(path, headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(("api_keys", "allow_anonymous"), [("key", False), (None, True)])
def test_with_a_key_or_when_anyone_is_let_in_every_host_is_answered(
    tmp_path: Path, api_keys: str | None, allow_anonymous: bool
) -> None:
    model = probe(tmp_path / "model.onnx")
    with running_service(model, api_keys=api_keys, allow_anonymous=allow_anonymous) as client:
        client.headers["Authorization"] = "Bearer key"
        assert ask(client, "photos.example").status_code == 200
