"""A deploy that does not come to its end, whatever ends it, leaves nothing that `list` and `delete` do not know."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import httpx
import pytest
from typer.testing import CliRunner, Result

from salver.cli import build
from salver.client.result import Score
from salver.deployment.deployment import Deployment, DeploymentFailed, TargetName
from salver.deployment.docker import DockerTarget
from salver.deployment.local import GATE, LocalTarget
from salver.deployment.target import DeploymentSpec
from tests.salver.deployment.processes import services
from tests.support.images import photo
from tests.support.models import probe

pytestmark = [pytest.mark.slow, pytest.mark.server]

TARGETS: list[TargetName] = ["local", "docker"]
WORD = "one  {}  1/1 ready  http://127.0.0.1:"
BEGUN = "a 'salver deploy' of it has not come to its end: if none runs now, deploy it again, or delete it"


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, engine: Path, tmp_path: Path) -> Iterator[TargetName]:
    (tmp_path / "a.jpg").write_bytes(photo(48, 40))
    probe(tmp_path / "model.onnx")
    yield request.param
    Deployment.delete_if_service_exist("one", request.param)
    assert services(tmp_path) == set()
    assert not list((tmp_path / "state").rglob("*key*"))
    assert not list(engine.glob("*.json"))


def run(*words: str, target: TargetName) -> Result:
    return CliRunner().invoke(build(words[0]), [*words, "--target", target])


def killed(folder: Path, target: TargetName, number: signal.Signals) -> None:
    """`salver deploy` in a process of its own, ended once something was started."""
    words = [sys.executable, "-m", "salver", "deploy", "one", str(folder / "model.onnx"), "--target", target]
    had = services(folder, begun=True)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for _ in range(2000):
            if services(folder, begun=True) - had:
                break
            threading.Event().wait(0.005)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert said.endswith(b"\nInterrupted.\n" if number == signal.SIGINT else b"\nEnded by SIGTERM.\n")


def until_ready(target: TargetName) -> None:
    for _ in range(500):
        if Deployment("one", target=target).status().ready:
            return
        threading.Event().wait(0.02)
    raise AssertionError("It did not become ready.")


def test_what_a_killed_deploy_started_is_listed_in_words_and_deleted(target: TargetName, tmp_path: Path) -> None:
    """`kill -9` of a waiting `salver deploy`."""
    killed(tmp_path, target, signal.SIGKILL)
    assert len(services(tmp_path)) == 1
    until_ready(target)
    listed = run("list", target=target)
    assert listed.output.startswith(WORD.format(target))
    assert listed.output.endswith(f"  {BEGUN}\n")
    assert listed.exit_code == 1
    assert run("delete", "one", target=target).exit_code == 0
    assert services(tmp_path) == set()
    assert run("list", target=target).output == ""


def test_a_deploy_over_what_a_killed_one_left_clears_it_up_and_takes_its_key(
    target: TargetName, tmp_path: Path
) -> None:
    killed(tmp_path, target, signal.SIGKILL)
    left, key = services(tmp_path), Deployment("one", target=target).service_key
    deployment = Deployment("one", tmp_path / "model.onnx", target)
    deployment.deploy()
    assert len(services(tmp_path)) == 1
    assert not services(tmp_path) & left
    assert key
    assert deployment.service_key == key
    assert isinstance(deployment.score_image(tmp_path / "a.jpg"), Score)
    assert (deployment.status().ready, deployment.status().fault) == (1, "")


@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("local", signal.SIGKILL),
        ("docker", signal.SIGKILL),
        ("docker", signal.SIGINT),
        ("local", signal.SIGTERM),
        ("docker", signal.SIGTERM),
    ],
    indirect=["target"],
)
def test_a_deploy_over_a_serving_one_that_is_ended_leaves_that_and_says_what_it_left(
    target: TargetName, tmp_path: Path, number: signal.Signals
) -> None:
    first = Deployment("one", tmp_path / "model.onnx", target, service_key="first")
    url = first.deploy()
    killed(tmp_path, target, number)
    status = first.status()
    assert (status.url, status.ready) == (url, 1)
    assert status.fault == (BEGUN if number == signal.SIGKILL else "")
    assert len(services(tmp_path)) == (2 if number == signal.SIGKILL else 1)
    assert isinstance(first.score_image(tmp_path / "a.jpg"), Score)
    assert first.service_key == "first"
    first.deploy()
    assert first.status().fault == ""
    assert len(services(tmp_path)) == 1


# The error can come up between the opening of a file and the care for it, which only the interpreter's end tells.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("target", "error", "times"),
    [
        ("local", OSError(28, "No space left on device"), 1),
        ("docker", MemoryError(), 1),
        ("local", KeyboardInterrupt(), 2),
        ("docker", KeyboardInterrupt(), 2),
    ],
    indirect=["target"],
)
def test_whatever_ends_a_deploy_nothing_stays_that_is_not_listed(
    target: TargetName, tmp_path: Path, error: BaseException, times: int
) -> None:
    """The error comes up while the service is waited for, and perhaps once more while what was started is ended."""
    httpx.Client(trust_env=False).close()  # it imports its parts late, and an error inside of an import becomes another
    came = 0

    def come_up(_: int, __: FrameType | None) -> None:
        nonlocal came
        if services(tmp_path):
            came += 1
            if came < times:
                signal.setitimer(signal.ITIMER_REAL, 0.02)
            raise error
        signal.setitimer(signal.ITIMER_REAL, 0.02)  # anew each time: looking can take longer than that

    before = signal.signal(signal.SIGALRM, come_up)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(type(error)):
            Deployment("one", tmp_path / "model.onnx", target).deploy()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came in (1, times)
    if came == 1:
        assert services(tmp_path) == set()
        assert Deployment.list_deployment(target) == []
    elif services(tmp_path):
        assert [status.fault for status in Deployment.list_deployment(target)] == [BEGUN]


def test_a_full_disk_before_anything_runs_leaves_nothing(target: TargetName, tmp_path: Path) -> None:
    """The first file that would be written cannot be: a folder stands in the way of the deployment's own."""
    folder = tmp_path / "state" / "salver" / target
    folder.mkdir(parents=True)
    (folder / "one").write_text("")
    ended = run("deploy", "one", str(tmp_path / "model.onnx"), target=target)
    assert ended.exit_code == 1
    assert "Traceback" not in ended.output
    assert services(tmp_path) == set()
    (folder / "one").unlink()


def test_a_service_whose_caller_dies_before_it_is_recorded_never_begins(tmp_path: Path) -> None:
    """The pipe that lets it begin is closed by the caller's death; one line through it lets it begin."""
    words = ["/bin/sh", "-c", GATE, "salver", "/usr/bin/touch", str(tmp_path / "begun")]
    assert subprocess.run(words, input=b"", check=False).returncode
    assert not (tmp_path / "begun").exists()
    assert subprocess.run(words, input=b"\n", check=False).returncode == 0
    assert (tmp_path / "begun").exists()


def test_a_folder_with_nothing_but_a_key_is_listed_as_begun_and_deleted(target: TargetName, tmp_path: Path) -> None:
    """What is left when a deploy is killed before anything was started."""
    folder = tmp_path / "state" / "salver" / target / "one"
    folder.mkdir(parents=True)
    for file in ("key-1234", "begun"):
        (folder / file).write_text("secret")
    (status,) = Deployment.list_deployment(target)
    assert (status.ready, status.url, status.fault) == (0, "", BEGUN)
    Deployment("one", target=target).delete()
    assert not folder.exists()


def test_when_another_model_answers_than_the_files_the_versions_are_told_and_the_old_one_serves_on(
    target: TargetName, tmp_path: Path
) -> None:
    first = Deployment("one", tmp_path / "model.onnx", target, service_key="first")
    url, is_there = first.deploy(), hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest()
    place = LocalTarget(lambda _: None) if target == "local" else DockerTarget(lambda _: None)
    wanted = DeploymentSpec("one", tmp_path / "model.onnx", "0" * 64, "cpu", 1, "first", "salver-serve:cpu", 60, {})
    words = f"Another model answers: its version is {is_there}, and the file's is {'0' * 64}"
    with pytest.raises(DeploymentFailed, match=words):
        place.deploy(wanted)
    assert (first.status().url, first.status().ready) == (url, 1)
    assert len(services(tmp_path)) == 1


@pytest.mark.parametrize("target", ["local"], indirect=True)
def test_a_killed_process_frees_its_number_where_it_was_started(target: TargetName, tmp_path: Path) -> None:
    """A program that deploys a broken model again and again collects no dead processes."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text().split()
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(DeploymentFailed, match="ended before it was ready"):
        Deployment("one", tmp_path / "broken.onnx", target).deploy()
    assert set(children.read_text().split()) <= set(before)


def test_a_container_whose_name_was_just_taken_gets_it_back(engine: Path, tmp_path: Path) -> None:
    """A deploy over it that was killed between the two renamings."""
    (tmp_path / "a.jpg").write_bytes(photo(48, 40))
    first = Deployment("one", probe(tmp_path / "model.onnx"), "docker", service_key="first")
    url = first.deploy()
    subprocess.run(["docker", "rename", "salver-one", "salver-one.before"], check=True)
    assert [status.fault for status in Deployment.list_deployment("docker")] == [BEGUN]
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(DeploymentFailed, match=r"What was deployed before is as it was\."):
        Deployment("one", tmp_path / "broken.onnx", "docker").deploy()
    try:
        assert (first.status().url, first.status().fault) == (url, "")
        assert isinstance(first.score_image(tmp_path / "a.jpg"), Score)
    finally:
        first.delete()
    assert engine.is_dir()
