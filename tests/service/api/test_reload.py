"""A change of the model without a restart."""

import asyncio
import base64
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import httpx
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from prometheus_client.parser import text_string_to_metric_families
from typing_extensions import override

from service.scoring.model import load_model
from tests.support.caller import Caller
from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import constant
from tests.support.surroundings import no_descriptors_left

pytestmark = pytest.mark.server

ITEM = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
ADMIN = {"Authorization": "Bearer admin"}
ONE, TWO, THREE = [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]


def replace(path: Path, logits: list[float]) -> str:
    """Put a model with these logits in the file's place, as one should; its version."""
    constant(path.with_suffix(".new"), logits)
    path.with_suffix(".new").rename(path)
    return load_model(str(path), "cpu", 1).version


def score(client: httpx.Client) -> tuple[list[float], str]:
    """The scores of one image, and the version that they are from."""
    answer = client.post("/score", json=ITEM)
    assert answer.status_code == 200
    return answer.json()[0]["scores"], answer.headers["x-model-version"]


def reload(client: httpx.Client) -> httpx.Response:
    return client.post("/model/reload", headers=ADMIN)


def reloads(client: httpx.Client) -> dict[str, float]:
    samples = (
        sample for family in text_string_to_metric_families(client.get("/metrics").text) for sample in family.samples
    )
    return {sample.labels["outcome"]: sample.value for sample in samples if sample.name == "salver_model_reloads_total"}


def scoring_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("scorer-")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    replace(tmp_path / "model.onnx", ONE)
    return tmp_path / "model.onnx"


@pytest.fixture
def client(path: Path) -> Iterator[httpx.Client]:
    with running_service(path, admin_keys="admin") as client:
        yield client


def test_without_an_admin_key_there_is_no_such_route(path: Path) -> None:
    with running_service(path, api_keys="one") as client:
        answer = client.post("/model/reload", headers={"Authorization": "Bearer one"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_service_key_does_not_change_the_model(path: Path) -> None:
    with running_service(path, api_keys="one", admin_keys="admin") as client:
        for headers in ({"Authorization": "Bearer one"}, {}):
            answer = client.post("/model/reload", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["type"] == "urn:salver:unauthorised"
        assert client.get("/model", headers=ADMIN).status_code == 401


def test_a_file_that_is_the_same_is_left_alone(client: httpx.Client, path: Path) -> None:
    path.touch()
    threads = scoring_threads()
    answer = reload(client)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "unchanged")
    assert answer.json()["version"] == answer.json()["version_before"] == score(client)[1]
    assert scoring_threads() == threads
    assert reloads(client) == {"ok": 0, "failed": 0}


def test_a_new_file_is_served_and_the_old_ones_threads_end(client: httpx.Client, path: Path) -> None:
    before, threads = score(client), scoring_threads()
    version = replace(path, TWO)
    assert score(client) == before
    assert reload(client).json() == {"outcome": "changed", "version": version, "version_before": before[1]}
    assert score(client) == (TWO, version)
    assert client.get("/model").json()["version"] == version
    assert client.get("/v2/models/salver").json()["versions"] == [version]
    assert reloads(client) == {"ok": 1, "failed": 0}
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_broken_file_changes_nothing_and_is_told_once(
    client: httpx.Client, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served, good = score(client), path.read_bytes()
    for broken, words in ((good[:-100], "cannot be loaded"), (b"", "cannot be loaded"), (None, "cannot be read")):
        if broken is None:
            path.unlink()
        else:
            path.write_bytes(broken)
        for _ in range(3):
            answer = reload(client)
            assert answer.status_code == 409
            assert answer.headers["content-type"] == "application/problem+json"
            assert (answer.json()["status"], answer.json()["title"]) == (409, "Conflict")
            assert words in answer.json()["detail"]
            assert score(client) == served
    assert client.get("/readyz").status_code == 200
    assert reloads(client) == {"ok": 0, "failed": 9}
    lines = [record.message for record in caplog.records if record.name == "salver.service"]
    assert [line.startswith("the model stays as it is: ") for line in lines] == [True] * 3
    path.write_bytes(good)
    assert reload(client).json()["outcome"] == "unchanged"


def test_other_labels_are_served_and_told(client: httpx.Client, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    replace(path, [1.0, 2.0, 3.0, 4.0])
    assert reload(client).json()["outcome"] == "changed"
    assert client.get("/model").json()["labels"] == ["a", "b", "c", "d"]
    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert line == "the model's labels changed, or their order: 3 before, 4 now; gone: []; new: ['d']"


def test_a_request_that_began_on_the_old_model_ends_on_it(client: httpx.Client, path: Path) -> None:
    old, threads = score(client)[1], scoring_threads()
    body = json.dumps(ITEM).encode()
    with Caller(client) as caller:
        caller.send(body[:10], f"Content-Length: {len(body)}\r\n")
        assert score(client)[1] == old  # the other one's head was read before this request's
        replace(path, TWO)
        assert reload(client).json()["outcome"] == "changed"
        assert all(thread.is_alive() for thread in threads)
        caller.socket.sendall(body[10:])
        assert caller.status() == 200
        assert caller.header("x-model-version") == old
        assert json.loads(caller.answer.partition(b"\r\n\r\n")[2])[0]["scores"] == ONE
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


class HeldFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files in memory that are not read before they are let go."""

    protocol = "held"
    gate = threading.Semaphore(0)
    asked = threading.Semaphore(0)

    @override
    def _open(self, path: str, mode: str = "rb", **kwargs: object) -> object:
        if mode == "rb":
            self.asked.release()
            self.gate.acquire()
        return super()._open(path, mode, **kwargs)


def put(location: str, data: bytes) -> None:
    with fsspec.open(location, "wb") as file:
        file.write(data)


@pytest.fixture
def held(path: Path) -> str:
    fsspec.register_implementation("held", HeldFileSystem, clobber=True)
    HeldFileSystem.gate, HeldFileSystem.asked = threading.Semaphore(0), threading.Semaphore(0)
    put("held://model.onnx", path.read_bytes())
    return "held://model.onnx"


def test_while_the_model_loads_the_service_is_alive_and_not_ready(held: str) -> None:
    with running_service(held, until_ready=False, admin_keys="admin") as client:
        assert HeldFileSystem.asked.acquire(timeout=10)
        assert client.get("/healthz").status_code == 200
        for answer in (client.get("/readyz"), client.post("/score", json=ITEM), client.get("/model"), reload(client)):
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:salver:not-ready"
        HeldFileSystem.gate.release()
        for _ in range(500):
            if client.get("/readyz").status_code == 200:
                break
        assert score(client)[0] == ONE


def test_two_changes_at_once_are_made_one_after_the_other(held: str, tmp_path: Path) -> None:
    HeldFileSystem.gate.release()
    with running_service(held, admin_keys="admin") as client:
        put(held, constant(tmp_path / "two.onnx", TWO).read_bytes())
        answers: list[str] = []
        callers = [threading.Thread(target=lambda: answers.append(reload(client).json()["outcome"])) for _ in range(2)]
        assert HeldFileSystem.asked.acquire(timeout=10)  # the first model's
        for caller in callers:
            caller.start()
        assert HeldFileSystem.asked.acquire(timeout=10)
        assert not HeldFileSystem.asked.acquire(timeout=0.2)
        assert score(client)[0] == ONE
        HeldFileSystem.gate.release(2)
        for caller in callers:
            caller.join()
        assert sorted(answers) == ["changed", "unchanged"]
        assert score(client)[0] == TWO


def becomes(client: httpx.Client, scores: list[float]) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if score(client)[0] == scores:
            return True
    return False


@pytest.mark.parametrize("where", ["path", "memory"])
def test_a_file_that_changed_is_served_by_itself(path: Path, where: str) -> None:
    location = str(path)
    if where == "memory":
        location = "memory://polled/model.onnx"
        put(location, path.read_bytes())
    with running_service(location, model_poll_seconds=0.05) as client:
        for logits in (TWO, THREE):
            replace(path, logits)
            if where == "memory":
                put(location, path.read_bytes())
            assert becomes(client, logits)
        assert reloads(client) == {"ok": 2, "failed": 0}


def test_a_broken_file_is_tried_once_and_the_next_good_one_is_served(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = constant(path.with_name("two.onnx"), TWO).read_bytes()
    with running_service(path, model_poll_seconds=0.02) as client:
        for half in (good[: len(good) // 2], None):
            failures = reloads(client)["failed"]
            if half is None:
                path.unlink()
            else:
                path.with_name("half.onnx").write_bytes(half)
                path.with_name("half.onnx").replace(path)
            while reloads(client)["failed"] == failures:
                assert score(client)[0] == ONE
        assert reloads(client) == {"ok": 0, "failed": 2}
        assert threading.Event().wait(0.2) is False  # ten looks more
        assert reloads(client) == {"ok": 0, "failed": 2}
        path.with_name("two.onnx").replace(path)  # written over, it would be empty for a moment, which is a third fault
        assert becomes(client, TWO)
    lines = [record.message for record in caplog.records if record.name == "salver.service"]
    assert [line.startswith("the model stays as it is: ") for line in lines] == [True] * 2


def over(path: Path, logits: list[float]) -> None:
    """In place, of the same length, with the time of before."""
    before = path.stat()
    new = constant(path.with_name("other.onnx"), logits).read_bytes()
    assert len(new) == before.st_size
    with path.open("r+b") as file:
        file.write(new)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_model_written_over_with_the_same_length_and_time_is_served(path: Path) -> None:
    with running_service(path, model_poll_seconds=0.05) as client:
        for logits in ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0]):
            over(path, logits)
            assert becomes(client, logits)


def test_a_model_is_followed_through_many_swaps_of_a_mounted_volume(path: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    files = [constant(tmp_path / f"{number}.onnx", logits) for number, logits in enumerate((ONE, TWO, THREE))]

    def swap(number: int) -> None:
        folder = mount / f"..{number}"
        folder.mkdir()
        shutil.copy(files[number % 3], folder / "model.onnx")
        os.utime(folder / "model.onnx", (0, 0))
        (mount / "..data_tmp").symlink_to(folder.name)
        (mount / "..data_tmp").rename(mount / "..data")

    swap(0)
    (mount / "model.onnx").symlink_to("..data/model.onnx")
    with running_service(mount / "model.onnx", model_poll_seconds=0.02) as client:
        for number in range(1, 10):
            swap(number)
            shutil.rmtree(mount / f"..{number - 1}")
            assert becomes(client, (ONE, TWO, THREE)[number % 3])


def test_a_model_that_comes_while_descriptors_are_used_up_is_served_when_they_are_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_service(path, model_poll_seconds=0.05) as client:
        assert score(client)[0] == ONE  # its connection is open
        new = constant(path.with_name("two.onnx"), TWO)
        with no_descriptors_left():
            new.rename(path)
            for _ in range(100):
                if any("Too many open files" in record.message for record in caplog.records):
                    break
                assert score(client)[0] == ONE
                threading.Event().wait(0.02)
            else:
                raise AssertionError("nobody looked")
            assert client.get("/readyz").json() == {"status": "ready", "stale": ["SALVER_MODEL"]}
        assert becomes(client, TWO)
        assert client.get("/readyz").json() == {"status": "ready"}


def test_a_reload_that_was_asked_for_while_descriptors_were_used_up_is_no_lasting_fault(path: Path) -> None:
    with running_service(path, model_poll_seconds=0.2, admin_keys="admin") as client:
        assert reload(client).status_code == 200  # its connection is open
        with no_descriptors_left():
            assert reload(client).status_code == 409
            assert "stale" in client.get("/readyz").json()
        until(lambda: "stale" not in client.get("/readyz").json())


@pytest.mark.parametrize("spoil", ["away", "a pipe", "a folder", "empty"])
def test_a_model_file_that_cannot_be_used_is_told_until_it_is_back(
    path: Path, caplog: pytest.LogCaptureFixture, spoil: str
) -> None:
    whole = path.read_bytes()
    with running_service(path, model_poll_seconds=0.02) as client:
        path.unlink()
        if spoil == "a pipe":
            os.mkfifo(path)
        elif spoil == "a folder":
            path.mkdir()
        elif spoil == "empty":
            path.touch()
        until(lambda: "stale" in client.get("/readyz").json())
        stale = 'salver_file_stale{setting="SALVER_MODEL"} '
        assert f"{stale}1" in client.get("/metrics").text
        assert score(client)[0] == ONE
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
        until(lambda: "stale" not in client.get("/readyz").json())
        assert f"{stale}0" in client.get("/metrics").text
        assert reloads(client) == {"ok": 0, "failed": 1}
    assert [line for line in caplog.messages if line.startswith("the model stays as it is: ")][1:] == []


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end


@pytest.mark.slow
def test_under_load_every_answer_is_one_models_and_no_request_fails(path: Path) -> None:
    versions = {replace(path, logits): logits for logits in (TWO, THREE, ONE)}
    ended = threading.Event()

    async def load(base_url: httpx.URL) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:

            async def ask(count: int) -> list[httpx.Response]:
                answers = []
                while not ended.is_set():
                    answers.append(await client.post("/score", json=[ITEM] * count))
                return answers

            return [answer for answers in await asyncio.gather(*map(ask, (1, 1, 1, 8, 30))) for answer in answers]

    with running_service(path, admin_keys="admin") as client:
        loads: list[list[httpx.Response]] = []
        thread = threading.Thread(target=lambda: loads.append(asyncio.run(load(client.base_url))))
        thread.start()
        for logits in (TWO, THREE, ONE) * 4:
            replace(path, logits)
            assert reload(client).json()["outcome"] == "changed"
        ended.set()
        thread.join()
        assert reloads(client) == {"ok": 12, "failed": 0}
    (answers,) = loads
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        wanted = versions[answer.headers["x-model-version"]]
        assert all(item["scores"] == wanted for item in answer.json())
    assert {answer.headers["x-model-version"] for answer in answers} == set(versions)


@pytest.mark.parametrize("location", ["memory://gone/model.onnx", "absent.onnx"])
def test_a_first_model_that_cannot_be_read_ends_the_service(location: str, tmp_path: Path) -> None:
    with running_service(location, until_ready=False) as client:
        for _ in range(1000):
            try:
                client.get("/healthz")
            except httpx.TransportError:
                return
    raise AssertionError("the service goes on without a model")
