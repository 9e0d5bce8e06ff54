"""What `tools.bench.service` reads from /proc: processor time, memory, and whether another process took the cores."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
UTIME, STIME = 11, 12  # fields of /proc/PID/stat behind the process name, from 0
IDLE = {3, 4}  # columns of the line `cpu` in /proc/stat: idle, iowait


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[UTIME]) + int(fields[STIME])) / TICKS


def resident_mebibytes(pid: int) -> float:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 2**20


def processor_name() -> str:
    """As /proc/cpuinfo has it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


@dataclass(frozen=True)
class Clock:
    """Processor time at one moment: all of the machine's, and ours."""

    machine_seconds: float
    our_seconds: float

    @classmethod
    def now(cls, *pids: int) -> "Clock":
        """`pids` are the processes that belong to the measurement, beside this one."""
        columns = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        busy = sum(int(ticks) for column, ticks in enumerate(columns) if column not in IDLE) / TICKS
        return cls(busy, sum(cpu_seconds(pid) for pid in (os.getpid(), *pids)))

    def others_since(self, earlier: "Clock") -> float:
        """Seconds of processor time that other processes took in between."""
        return (self.machine_seconds - earlier.machine_seconds) - (self.our_seconds - earlier.our_seconds)
