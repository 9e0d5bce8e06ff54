"""What the service holds in memory, counted and measured."""

import base64
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from service.errors import ScoringError
from service.limits.request import Budget
from service.settings import Settings
from tests.support.caller import Caller
from tests.support.images import encode, picture, solid
from tests.support.live import free_port, running_service, service_process, serving_folder, wait_until_ready
from tests.support.models import probe

pytestmark = pytest.mark.server

MIB = 1024**2


def test_a_share_of_the_budget_only_grows_and_is_given_back() -> None:
    budget = Budget(10)
    with budget.share() as one, budget.share() as other:
        for size in (4, 2, 6):
            one.grow_to(size)
        other.grow_to(4)
        assert budget.held_bytes == 10
        with pytest.raises(ScoringError, match="limit is 10"):
            other.grow_to(5)
    assert budget.held_bytes == 0


def test_a_budget_that_never_holds_the_longest_body_is_a_wrong_setting() -> None:
    with pytest.raises(ValidationError, match="MAX_INFLIGHT_BYTES"):
        Settings(model="m", max_inflight_bytes=9, max_body_bytes=10)


def gzip_bomb(inflated_bytes: int) -> bytes:
    """A gzip of zeros without its end, made of one block of 16 MiB again and again."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    first = packer.compress(b"\0" * 2**24) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b"\0" * 2**24) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (inflated_bytes // 2**24 - 1)


class Memory:
    """The resident bytes of a process."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")

    def now(self) -> int:
        """Bytes; the peak begins anew here."""
        (self._process / "clear_refs").write_text("5")
        return self._bytes("VmRSS")

    def peak(self) -> int:
        """The most bytes since `now`."""
        return self._bytes("VmHWM")

    def _bytes(self, field: str) -> int:
        lines = (self._process / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


@contextmanager
def measured_service(model: Path, **environment: str) -> Iterator[tuple[httpx.Client, Memory]]:
    """A service process that has scored one image, and its memory."""
    port = free_port()
    with (
        service_process(model, port, SALVER_DRAIN_SECONDS="0", SALVER_LOG_FORMAT="text", **environment) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        wait_until_ready(client, attempts=500)
        image = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
        assert client.post("/score", json=[image]).status_code == 200
        yield client, Memory(process.pid)


@pytest.mark.slow
def test_a_gzip_that_opens_to_2_gib_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    bomb = gzip_bomb(2048 * MIB)
    assert len(bomb) < 2.1 * MIB
    with measured_service(probe(tmp_path / "model.onnx")) as (client, memory):
        before = memory.now()
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        answer = client.post("/score", content=bomb, headers=headers)
        assert answer.status_code == 413
        assert memory.peak() - before < (32 + 16) * MIB


@pytest.mark.slow
def test_a_chunked_body_without_a_length_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    with measured_service(probe(tmp_path / "model.onnx")) as (client, memory):
        before = memory.now()
        chunks = (b" " * MIB for _ in range(200))
        answer = client.post("/score", content=chunks, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert memory.peak() - before < (32 + 16) * MIB


@pytest.mark.slow
def test_fifty_clients_with_sixteen_large_photos_each_stay_within_half_a_gibibyte(tmp_path: Path) -> None:
    """What is too much is answered 429 with a time to come back."""
    photo = encode(picture(3872, 2592), "JPEG", quality=60)  # 10 megapixels
    item = {"image_in_base64": base64.b64encode(photo).decode(), "parameters": {"top_k": 1}}
    body = json.dumps([item] * 16).encode()
    assert len(body) < 32 * MIB
    statuses: list[int] = []

    def send(url: httpx.URL) -> None:
        answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=60)
        statuses.append(answer.status_code)
        assert answer.status_code == 200 or answer.headers["retry-after"] == "1"

    budget = {"SALVER_MAX_INFLIGHT_BYTES": str(128 * MIB)}  # a quarter of 512 MiB
    with measured_service(probe(tmp_path / "model.onnx"), **budget) as (client, memory):
        memory.now()
        threads = [threading.Thread(target=send, args=(client.base_url.join("/score"),)) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert memory.peak() < 512 * MIB
        assert client.get("/readyz").status_code == 200
    assert set(statuses) == {200, 429}
    assert len(statuses) == 50


def test_images_behind_urls_count_in_the_budget_until_they_are_scored(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(encode(picture(900, 700), "PNG"))
    (tmp_path / "small.png").write_bytes(solid((200, 30, 40)))
    with (
        serving_folder(tmp_path) as url,
        running_service(
            probe(tmp_path / "model.onnx"), url_allowlist="127.0.0.1", max_body_bytes=9000, max_inflight_bytes=200_000
        ) as client,
    ):
        items = [{"image_url": f"{url}/{name}"} for name in ("large.jpg", "small.png")]
        large, small = client.post("/score", json=items).json()
        assert large["error"]["type"] == "urn:salver:overloaded"
        assert "limit is 200000" in large["error"]["detail"]
        assert small["label"] == "left R"
        assert client.post("/score", json=[items[1]] * 60).status_code == 200


def test_the_copies_that_are_made_of_binary_tensors_count(tmp_path: Path) -> None:
    with (
        running_service(probe(tmp_path / "model.onnx"), max_body_bytes=100_000, max_inflight_bytes=100_000) as client,
        Caller(client) as slow,
    ):

        def ask(size: int) -> int:
            raw = (size - 4).to_bytes(4, "little") + solid((200, 30, 40)).ljust(size - 4, b"x")
            tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}
            text = json.dumps({"inputs": [tensor]}).encode()
            headers = {"Inference-Header-Content-Length": str(len(text))}
            return client.post("/v2/models/salver/infer", content=text + raw, headers=headers).status_code

        assert ask(90_000) == 200
        slow.send(b"[", "Content-Length: 60000\r\nExpect: 100-continue\r\n")
        assert slow.status() == 100
        assert [ask(5_000), ask(20_000)] == [200, 429]


@pytest.mark.parametrize("kind", ["Python's", "numpy's"])
@pytest.mark.parametrize(
    "place",
    ["service.api.score.read_pieces", "service.scoring.encoded.image_bytes", "service.api.v2.infer.read_pieces"],
)
def test_no_memory_for_a_request_or_an_image_asks_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, kind: str
) -> None:
    """As a process with little memory meets it, in tests/prove/test_surroundings.py. numpy raises a kind of its own."""

    def no_memory(*_: object, **__: object) -> None:
        if kind == "numpy's":
            np.empty(2**60, np.uint8)
        raise MemoryError

    text = base64.b64encode(solid((200, 30, 40))).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    path, body = (
        ("/v2/models/salver/infer", {"inputs": [tensor]})
        if "infer" in place
        else ("/score", [{"image_in_base64": text}])
    )
    with running_service(probe(tmp_path / "model.onnx")) as client:
        with monkeypatch.context() as patched:
            patched.setattr(place, no_memory)
            answer = client.post(path, json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert "There is no memory for this right now" in answer.text
        assert client.post(path, json=body).status_code == 200
