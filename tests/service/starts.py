"""Starts of `python -m service` that end at once, from a process that has imported everything: a second less each.

Of every line on standard input, a JSON object with `environment`, `arguments` and `log`, a fork runs the service's
module as Python's `-m` does, with its standard error in the file `log`; the answer is a line with its exit code.
"""

import json
import os
import runpy
import sys
from typing import TypedDict

import service.__main__  # noqa: F401  # only for what it imports


class Start(TypedDict):
    environment: dict[str, str]
    arguments: list[str]
    log: str


def run(start: Start) -> None:
    """In the fork, which it ends."""
    os.environ.clear()
    os.environ.update(start["environment"])
    os.dup2(os.open(start["log"], os.O_WRONLY | os.O_CREAT), 2)
    sys.argv[1:] = start["arguments"]
    del sys.modules["service.__main__"]
    runpy.run_module("service", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(json.loads(line))
            sys.exit(0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()
