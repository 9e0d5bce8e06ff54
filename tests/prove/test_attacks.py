"""What an attacker tries that no other test does; docs/security.md has the whole table."""

import base64
import random
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.errors import ScoringError
from service.limits.request import Keys
from tests.support.caller import Caller
from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(probe(tmp_path_factory.mktemp("model") / "model.onnx"), api_keys="key") as client:
        client.headers["Authorization"] = "Bearer key"
        yield client


@pytest.mark.parametrize(
    "target",
    [
        *("/../../etc/passwd", "/score/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/docs/../.."),
        *("/..%2f..%2fetc/passwd", "/..\\..\\etc\\passwd", "/%00", "/score%00.jpg", "/score/", "/SCORE", "/%c0%ae"),
        *("http://elsewhere/etc/passwd", "/v2/models/../../etc/passwd/infer", "/v2/models/%2e%2e/infer", "/;/score"),
    ],
)
def test_no_form_of_a_path_leads_to_a_file(client: httpx.Client, target: str) -> None:
    for method in ("GET", "POST"):
        with Caller(client) as caller:
            caller.socket.sendall(
                f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
            )
            assert caller.status() in (400, 401, 404, 405)
            assert b"root:" not in caller.answer
            assert b"elsewhere" not in caller.answer


@pytest.mark.parametrize(
    "head",
    [
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n[1,2]",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nA\0: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
        b"SSH-2.0-x\r\n\r\n",
    ],
)
def test_an_ambiguous_or_foreign_head_is_a_4xx_and_the_end_of_the_connection(client: httpx.Client, head: bytes) -> None:
    """Two proxies that read such a head differently can be made to take one caller's body for another's request."""
    with Caller(client) as caller:
        caller.socket.sendall(head)
        assert 400 <= caller.status() < 500
        assert caller.is_closed()


def test_a_very_long_url_key_or_query_is_refused_without_repeating_it(client: httpx.Client) -> None:
    long = "a" * 30_000
    url = client.post("/score", json=[{"image_url": f"http://{long}/"}])
    key = client.post("/score", json=[RED], headers={"Authorization": f"Bearer {long}"})
    query = client.post(f"/score?{long}=1", content=b"x", headers={"Content-Type": "image/png"})
    assert [url.status_code, key.status_code, query.status_code] == [422, 401, 422]
    assert max(len(answer.content) for answer in (url, key, query)) < 1000


def test_the_time_of_a_refusal_does_not_tell_how_much_of_a_key_was_right() -> None:
    """Medians of many, taken by turns, of keys that agree in no, half, and all but the last of their characters."""
    right = "0123456789abcdef" * 4
    keys = Keys([right])
    guesses = [f"Bearer {right[:same]}{'x' * (64 - same)}".encode() for same in (0, 32, 63)]
    seconds: dict[bytes, list[float]] = {guess: [] for guess in guesses}
    order = random.Random(0)
    for _ in range(3000):
        for guess in order.sample(guesses, len(guesses)):
            began = time.perf_counter()
            with pytest.raises(ScoringError):
                keys.check(guess)
            seconds[guess].append(time.perf_counter() - began)
    medians = [statistics.median(seconds[guess]) for guess in guesses]
    assert max(medians) <= 1.1 * min(medians)


def test_the_annotation_page_never_makes_markup_of_text() -> None:
    """File names and labels reach the page as text nodes and attributes, whatever they hold."""
    making = re.compile(r"\.(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|Function\(")
    scripts = list((ROOT / "training" / "dataset" / "annotate" / "page").glob("*.js"))
    assert scripts
    for script in scripts:
        assert not making.search(script.read_text()), script


def test_no_code_of_ours_opens_a_pickle() -> None:
    """Weights are the one place: there `torch.load` is told to take tensors alone."""
    opening = re.compile(r"pickle\.loads?\(|joblib|np\.load\(|allow_pickle|torch\.load\((?!.*weights_only=True)")
    for room in ("salver", "service", "training", "loadtest"):
        for path in (ROOT / room).rglob("*.py"):
            assert not opening.search(path.read_text()), path
