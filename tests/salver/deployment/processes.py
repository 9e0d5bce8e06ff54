"""Processes that a deployment has started."""

import os
from pathlib import Path


def services(folder: Path, begun: bool = False) -> set[int]:
    """Every process that serves with a key out of the test's own folder, or is about to unless it has `begun`."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            ours = str(folder).encode() in (process / "environ").read_bytes()
        except OSError:
            continue
        if ours and words[-5:-2] == [b"-m", b"service", b"--port"] and not (begun and words[0] == b"/bin/sh"):
            found.add(int(process.name))
    return found


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with."""
    pairs = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
