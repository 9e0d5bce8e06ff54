"""A reader with a clone of the repository, who types what a page says."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.docs.pages import ROOT
from tests.support.images import photo
from training.dataset.gather.sample.render import LABELS, render

KINDS = ("salver serve", "salver annotate", "tensorboard", "docker run")
STAYS = re.compile(rf"^(?:\w+=\S+ )*(?:{'|'.join(KINDS)}) (?:.*\\\n)*.*$", re.MULTILINE)
"""A command that goes on until Ctrl-C, while the reader types the next one in another terminal."""
SAYS_WHERE = re.compile(r"http://(?:127\.0\.0\.1|localhost|0\.0\.0\.0):\d+/\S*")
SERVED = "http://127.0.0.1:8000/readyz"
AT = {"salver serve": SERVED, "docker run": SERVED, "tensorboard": "http://127.0.0.1:6006/"}
BLOCK_SECONDS, START_SECONDS, END_SECONDS = 1800, 60, 30
NO_CLUSTER = """{apiVersion: v1, kind: Config, current-context: none,
contexts: [{name: none, context: {cluster: none}}], clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]}"""
REFUSED = "refused"
"""What kubectl says where no cluster listens."""


class Reader:
    """`folder` is the clone; `terminals` are commands that stay, by what they are."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = environment
        self._terminals: dict[str, subprocess.Popen[str]] = {}

    def types(self, commands: str, allowed: tuple[int, ...] = (0,)) -> str:
        """Run the commands of a block in order; what they said. Those that stay are left once they answer."""
        if "docker compose up" in commands:
            self._frees_port(SERVED)
        said, start = "", 0
        for found in STAYS.finditer(commands):
            said += self.runs(["bash", "-euo", "pipefail", "-c", commands[start : found.start()]], allowed)
            self._opens_terminal(found[0], allowed)
            start = found.end()
        return said + self.runs(["bash", "-euo", "pipefail", "-c", commands[start:]], allowed)

    def types_without_a_cluster(self, commands: str) -> None:
        """Each line for itself: kubectl reads its options and files before it finds that nobody listens."""
        for line in commands.splitlines():
            done = self._ends(["bash", "-euo", "pipefail", "-c", line])
            assert done.returncode == 0 or REFUSED in done.stdout, f"{line}\n{done.stdout}"

    def runs(self, words: list[str], allowed: tuple[int, ...] = (0,)) -> str:
        """What a command said that has ended with a status that the page tells of."""
        done = self._ends(words)
        assert done.returncode in allowed, f"{words[-1]}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def close(self) -> None:
        """Ctrl-C in each terminal, also when one of them ends wrongly."""
        with ExitStack() as stack:
            for kind in self._terminals:
                stack.callback(self._interrupts, kind)

    def _ends(self, words: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=BLOCK_SECONDS,
        )

    def _opens_terminal(self, command: str, allowed: tuple[int, ...]) -> None:
        kind = next(kind for kind in KINDS if kind in command)
        self._frees_port(AT.get(kind))
        log = self.folder / "terminal.log"
        with log.open("w") as out:
            words = ["bash", "-c", f"exec env {command}"]
            process = subprocess.Popen(
                words, cwd=self.folder, env=self._environment, text=True, stdout=out, stderr=subprocess.STDOUT
            )
        self._terminals[kind] = process
        for _ in range(START_SECONDS * 20):
            said = log.read_text()
            if process.poll() is not None:
                assert process.returncode in allowed, f"{command}\nended with {process.returncode}:\n{said}"
                assert process.returncode, f"{command}\nended by itself:\n{said}"
                del self._terminals[kind]
                return
            where = AT.get(kind) or next(iter(SAYS_WHERE.findall(said)), "")
            if where and _answers(where):
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"{command}\ndid not answer:\n{log.read_text()}")

    def _frees_port(self, where: str | None) -> None:
        for kind in [kind for kind in self._terminals if AT.get(kind) == where]:
            self._interrupts(kind)

    def _interrupts(self, kind: str) -> None:
        if process := self._terminals.pop(kind, None):
            process.send_signal(signal.SIGINT)
            status = process.wait(END_SECONDS)
            assert status == 0 or kind == "tensorboard", f"{kind} ended with {status} after Ctrl-C"


def _answers(where: str) -> bool:
    try:
        return httpx.get(where, follow_redirects=True).is_success
    except httpx.TransportError:
        return False


@contextmanager
def reading(folder: Path, checkpoints: Path) -> Iterator[Reader]:
    """A reader in a fresh clone, with the environment made; `checkpoints` is torch's folder of downloads."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    # `make` must not install the clone into this environment: what it looks at is older than the environment.
    assert Path(sys.prefix, ".installed").exists(), "The pages are typed in the environment that  make setup  makes."
    for name in ("pyproject.toml", "requirements/dev.txt"):
        os.utime(folder / name, (0, 0))
    (folder / "kubeconfig").write_text(NO_CLUSTER)
    environment = os.environ | {
        "PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}",
        "BROWSER": "true",  # a browser that shows nothing
        "KUBECONFIG": str(folder / "kubeconfig"),
        "PYTHONUNBUFFERED": "1",
        "TORCH_HOME": str(checkpoints),
        "XDG_STATE_HOME": str(folder / "state"),
        "SALVER_ADMIN_KEYS": "admin-key",
        "ADMIN_KEY": "admin-key",
    }
    environment.pop("OMP_NUM_THREADS", None)  # of this process, where nets are small
    reader = Reader(folder, environment)
    try:
        yield reader
    finally:
        reader.close()


def lay_photos(folder: Path, of_label: int) -> None:
    """Small photos with a camera's names, and what else pages name: single photos, a folder to build from, a spec."""
    for label in LABELS:
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(of_label):
            render(label, number, size=(96, 96)).save(folder / "photos" / label / f"IMG_{number + 1:04d}.jpg")
    (folder / "my cups").mkdir()
    (folder / "my plates").mkdir()
    for number in range(3):
        render("cup", of_label + number, size=(96, 96)).save(folder / "my cups" / f"{number}.jpg")
        render("plate", of_label + number, size=(96, 96)).save(folder / "my plates" / f"{number}.jpg")
    (folder / "spec.json").write_text('{"cup": ["my cups"], "plate": ["my plates"]}')
    for name in ("photo.jpg", "cup.jpg", "plate.jpg"):
        (folder / name).write_bytes(photo(64, 48))
    (folder / "keys").mkdir()
    (folder / "keys" / "service_key").write_text("key\n")


def lay_run(folder: Path, run: Path) -> None:
    """A run that is done, and the models and photos that pages name beside it."""
    for name in ("first", "bench"):
        shutil.copytree(run, folder / "runs" / name)
    for name in ("model.onnx", "old.onnx", "new.onnx"):
        shutil.copy(run / "model.onnx", folder / name)
    for label in LABELS:
        (folder / "validation" / label).mkdir(parents=True)
        for number in range(50, 58):  # none that the run has seen
            render(label, number, size=(96, 96)).save(folder / "validation" / label / f"{number}.jpg")
