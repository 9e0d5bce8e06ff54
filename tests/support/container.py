"""A command under a real limit of memory, as a container's engine sets it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CGROUP = Path("/sys/fs/cgroup")


class Container(NamedTuple):
    """`command` runs what is put behind it inside; `peak` is the file that says the most memory it had."""

    command: list[str]
    peak: Path | None
    limit: str
    """What keeps the limit, in words."""

    def peak_bytes(self) -> int:
        """Of all its processes together; 0 where nobody counts."""
        return int(self.peak.read_text()) if self.peak is not None else 0


@contextmanager
def container(limit_bytes: int) -> Iterator[Container]:
    """A memory cgroup, of either version, which the command sees as if it were the machine's.

    Without the right to make one, the address space of each process is bounded instead.
    """
    base, limit, peak = CGROUP / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"
    if not (base / limit).exists():
        base, limit, peak = CGROUP, "memory.max", "memory.peak"
    folder = base / f"salver-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(limit_bytes))
    except OSError:
        command = ["sh", "-c", f'ulimit -v {limit_bytes // 1024}; exec "$@"', "sh"]
        yield Container(command, None, "each process's address space")
        return
    # Mounted over the machine's own, so that the service reads its limit where it would in a container.
    script = f'echo $$ > {folder}/cgroup.procs && mount --bind {folder} {base} && exec "$@"'
    try:
        yield Container(["unshare", "--mount", "sh", "-c", script, "sh"], folder / peak, "a memory cgroup")
    finally:
        for _ in range(100):  # its processes have been ended, and are on their way out
            if not (folder / "cgroup.procs").read_text():
                break
            time.sleep(0.05)
        folder.rmdir()
