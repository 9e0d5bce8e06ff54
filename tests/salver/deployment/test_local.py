"""What a state file of a local deployment can do, whatever stands in it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from salver.cli import build
from salver.client.errors import DeploymentFailed
from salver.deployment.deployment import Deployment
from salver.deployment.local import LocalTarget
from salver.deployment.store import Store
from salver.system.lock import locked
from tests.support.models import probe

ROOT = Path(__file__).parents[3]


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "salver" / "local"


def write(states: Path, name: str, **state: object) -> None:
    (states / name).mkdir(parents=True)
    (states / name / "state.json").write_text(json.dumps({"pid": 2, "started": "1", "port": 1, **state}))


def started(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


ALL = """
import json, os, pathlib, subprocess, sys
from salver.deployment.deployment import Deployment
from salver.client.errors import DeploymentFailed

def stop(event, arguments):
    if event in ("os.kill", "os.killpg", "signal.pthread_kill"):
        print(event, arguments, flush=True)
        os._exit(1)

bystanders = [subprocess.Popen(["sleep", "5"]) for _ in range(3)]
sys.addaudithook(stop)
folder = pathlib.Path(os.environ["XDG_STATE_HOME"], "salver", "local", "one")
for pid in (-1, 0, 1, -bystanders[0].pid, os.getpid(), bystanders[0].pid, 2**31, 2**70, True, "2", 2.0, None):
    for started in ("", "0", open("/proc/self/stat").read().rpartition(")")[2].split()[19], None):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.json").write_text(json.dumps({"pid": pid, "started": started, "port": 8000}))
        for act in (Deployment("one").delete, Deployment("one").status, Deployment.list_deployment):
            try:
                act()
            except DeploymentFailed:
                pass
assert all(bystander.poll() is None for bystander in bystanders)
print("all there", flush=True)
os._exit(0)
"""


def test_no_number_in_a_state_file_ends_a_bystander(tmp_path: Path) -> None:
    """Every signal is stopped and told before it is sent. Where that is allowed, it runs in a pid namespace of its own
    besides, in which `-1` reaches only what this test started.
    """
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        apart = []
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*apart, sys.executable, "-c", ALL], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout, ended.returncode) == ("all there\n", 0), ended.stderr


def test_a_number_that_another_process_has_by_now_is_not_signalled(states: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            write(states, "reused", pid=other.pid, started="1")
            write(states, "other", pid=other.pid, started=started(other.pid))  # the time is right, the command is not
            assert [status.url for status in LocalTarget(lambda _: None).all()] == ["", ""]
            for name in ("reused", "other"):
                Deployment(name).delete()
            assert LocalTarget(lambda _: None).all() == []
            assert other.poll() is None
        finally:
            other.kill()


def test_the_service_that_was_started_is_signalled(states: Path) -> None:
    """The words of its command are what counts, here of a process that only sleeps."""
    command = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "service", "--port", "4321"]
    with subprocess.Popen(command) as ours:
        write(states, "one", pid=ours.pid, started=started(ours.pid), port=4321)
        Deployment("one").delete()
        assert ours.wait() == -signal.SIGTERM
    assert not (states / "one").exists()


def test_an_old_process_that_was_still_ending_is_listed_and_ended_with_the_one_that_serves(states: Path) -> None:
    """What a `kill -9` leaves that comes once the new process serves."""
    serving, ending = (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "-m", "service", "--port", port])
        for port in ("4321", "4322")
    )
    with serving, ending:
        write(states, "one", pid=ending.pid, started=started(ending.pid), port=4322)
        (states / "one" / "state.json").rename(states / "one" / "before.json")
        state = {"pid": serving.pid, "started": started(serving.pid), "port": 4321}
        (states / "one" / "state.json").write_text(json.dumps(state))
        status = Deployment("one").status()
        assert status.url == "http://127.0.0.1:4321"
        assert "has not come to its end" in status.fault
        Deployment("one").delete()
        assert [serving.wait(), ending.wait()] == [-signal.SIGTERM] * 2
    assert not (states / "one").exists()


@pytest.mark.server
def test_the_process_that_serves_is_not_taken_for_the_one_that_was_to_end(states: Path, tmp_path: Path) -> None:
    """What a `kill -9` leaves that comes just before the new process takes the old one's place."""
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    command = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "service", "--port", "4321"]
    with subprocess.Popen(command) as ours:
        write(states, "one", pid=ours.pid, started=started(ours.pid), port=4321)
        shutil.copy(states / "one" / "state.json", states / "one" / "before.json")
        with pytest.raises(DeploymentFailed, match=r"What was deployed before is as it was\."):
            Deployment("one", tmp_path / "broken.onnx").deploy()
        assert ours.poll() is None
        assert Deployment("one").status().fault == ""
        Deployment("one").delete()


def damage(states: Path, kind: str) -> None:
    write(states, "bad")
    path = states / "bad" / "state.json"
    if kind in ("pipe", "folder", "link"):
        path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "large":
        path.write_bytes(b" " * 100_000)
    else:
        texts = {
            "empty": b"",
            "torn": b'{"pid": 12, "st',
            "binary": b"\xff\xfe",
            "of another version": b'{"version": 2, "processes": []}',
            "another type": b"[1]",
            "nested": b"[" * 50_000,
            "hostile": b'{"pid": -1, "started": "1", "port": 1}',
        }
        path.write_bytes(texts[kind])


KINDS = ("empty", "torn", "binary", "of another version", "another type", "nested", "hostile", "pipe", "folder", "link")


@pytest.mark.parametrize("kind", [*KINDS, "large"])
def test_a_damaged_state_is_named_and_the_other_deployments_go_on(states: Path, kind: str) -> None:
    damage(states, kind)
    command = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "service", "--port", "4321"]
    with subprocess.Popen(command) as ours:
        write(states, "good", pid=ours.pid, started=started(ours.pid), port=4321)
        listed = CliRunner().invoke(build("list"), ["list"])
        assert "good  local  0/1 ready  http://127.0.0.1:4321" in listed.output
        assert f"bad  local  {states}/bad/state.json" in listed.output
        assert (listed.exit_code, listed.exception.__class__) == (1, SystemExit)
        with pytest.raises(
            DeploymentFailed, match=r"bad/state\.json .* 'salver delete bad' ends its service and clears it"
        ):
            Deployment("bad").status()
        Deployment("bad").delete()  # as the message says
        assert ours.poll() is None
        Deployment("good").delete()
        assert ours.wait() == -signal.SIGTERM
    assert LocalTarget(lambda _: None).all() == []


@pytest.mark.parametrize("state", [b"", b"\xff\xfe", None])
def test_the_service_of_a_damaged_or_missing_state_is_ended_by_delete(states: Path, state: bytes | None) -> None:
    """It is known by its key file, which lies in the deployment's folder; another one's goes on."""
    command = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "service", "--port", "4321"]
    ours, other = (
        subprocess.Popen(command, env=os.environ | {"SALVER_API_KEYS_FILE": str(states / name / "key-4321")})
        for name in ("one", "other")
    )
    with ours, other:
        write(states, "one", pid=ours.pid, started=started(ours.pid), port=4321)
        path = states / "one" / "state.json"
        path.unlink() if state is None else path.write_bytes(state)
        Deployment("one").delete()
        assert ours.wait() == -signal.SIGTERM
        assert other.poll() is None
        other.kill()
    assert not (states / "one").exists()


def test_a_state_that_cannot_be_read_for_a_moment_is_read_again(states: Path) -> None:
    write(states, "one")
    path = states / "one" / "state.json"
    aside = path.rename(states / "one" / "aside")
    path.symlink_to(path)  # what open() refuses for whoever runs the tests, root too
    with pytest.raises(DeploymentFailed, match=r"cannot be read: Too many levels of symbolic links\. If it stays so"):
        Deployment("one").status()
    aside.replace(path)
    assert "has ended" in Deployment("one").status().fault


def test_what_is_remembered_is_written_whole_and_for_its_owner_alone(states: Path) -> None:
    store = Store("local")
    for text in ("first", "second" * 1000):
        path = store.write("one", "state.json", text)
        assert store.read("one", "state.json") == text
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (states / "one").iterdir()] == ["state.json"]


def test_the_end_of_a_long_log_is_told(states: Path) -> None:
    store = Store("local")
    store.write("one", "log", "x" * 200_000 + "\nlast but one\nlast\n")
    assert store.last_lines("one", "log", 2) == ["last but one", "last"]
    assert store.last_lines("one", "none", 2) == []


def test_of_two_that_change_one_deployment_the_second_is_told_who_does(states: Path, tmp_path: Path) -> None:
    states.mkdir(parents=True)
    model = probe(tmp_path / "model.onnx")
    with locked(states / "one.lock"):
        for act in (Deployment("one", model).deploy, Deployment("one").delete):
            with pytest.raises(DeploymentFailed, match=f"'one' is being deployed or deleted by process {os.getpid()} "):
                act()
        assert Store("local").names() == []
        with pytest.raises(DeploymentFailed, match="There is no deployment 'two'"):
            Deployment("two").delete()


def test_a_process_that_has_ended_is_named_with_its_log_until_it_is_deleted(states: Path) -> None:
    """As `kill -9` or the machine's next start leave it."""
    write(states, "one", port=4321)
    for command in ("list", "status"):
        words = ["list"] if command == "list" else ["status", "one"]
        told = CliRunner().invoke(build(command), words)
        assert told.exit_code == 1
        assert f"one  local  its process has ended; its log is {states}/one/log-4321" in told.stdout
    with pytest.raises(DeploymentFailed, match=r"The process of 'one' has ended; its log is .*log-4321"):
        Deployment("one").score_image(b"1")
    assert CliRunner().invoke(build("delete"), ["delete", "one"]).exit_code == 0
    assert not (states / "one").exists()


def test_scaling_what_runs_on_this_machine_says_so_instead_of_asking_a_cluster(states: Path) -> None:
    write(states, "one")
    told = CliRunner().invoke(build("scale"), ["scale", "one", "3"])
    assert told.stderr == (
        "salver scale: 'one' runs locally, where there is always one process: replicas are for Kubernetes. "
        "For one of that name on a cluster, add --target kubernetes.\n"
    )
    assert told.exit_code == 1


def test_a_name_that_another_target_has_is_told(engine: Path, tmp_path: Path) -> None:
    write(tmp_path / "state" / "salver" / "local", "one")
    with pytest.raises(DeploymentFailed, match=r"There is no deployment 'one' on docker; there is one on local\."):
        Deployment("one", target="docker").status()
