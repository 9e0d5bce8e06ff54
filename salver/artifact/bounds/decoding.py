"""The processes in which files are decoded; `salver.artifact.bounds.decoders` starts them, and nothing else does.

The process that is started decodes nothing. It has imported what decoding needs, and each time it is asked it makes a
copy of itself that decodes: within milliseconds, and with nearly all of its memory shared. A copy is bounded by the
kernel in memory and, image by image, in the time of its core, and ends when it is over either.
"""

import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from functools import lru_cache
from typing import Literal, NamedTuple, NotRequired

import numpy as np
from typing_extensions import TypedDict

from salver.artifact.errors import ImageError, ImageTooLarge
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import Header, Limits, decode_with_header, to_pixels
from salver.system.allocator import return_memory

LENGTH = struct.Struct("<Q")
TASK_BYTES = 4096
"""Most bytes of a message: the length of the file and the task as JSON, or the answer."""
SPAWN, REAP = b"spawn", b"reap"
LARGE_BYTES = 2**20
"""A longer file or picture is taken out of the shared memory at once, and the heap is returned after it."""
OWN_BYTES = 64 * 2**20
"""Address space of a decoding process besides an image's memory: the file, its pixels, the interpreter's own needs."""
REAP_SECONDS = 1.0
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Sent to a whole group of processes; a decoding process ends when its owner does."""


class Task(NamedTuple):
    """What is to be made of the file: its pixels for a model, or the whole picture."""

    spec: PixelSpec
    limits: Limits
    want: Literal["pixels", "image"]


class Answer(TypedDict):
    """Either `error` and `detail`, or what was made: so many pixels lie in the shared memory, 3 bytes each."""

    error: NotRequired[str]
    """The class's name, of `salver.artifact.errors`."""
    detail: NotRequired[str]
    width: NotRequired[int]
    height: NotRequired[int]
    header: NotRequired[tuple[str, str, int, int, int]]


def main(descriptor: int) -> None:
    """Answer the owner, one request at a time, until it goes: `spawn` with two descriptors, or `reap` and a pid."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.collect()
    gc.freeze()  # or the first collection in a copy would take pages of its own for all that was imported
    with socket.socket(fileno=descriptor) as owner:
        while True:
            request, descriptors, _, _ = socket.recv_fds(owner, TASK_BYTES, 2)
            if not request:
                return
            word, _, number_text = request.partition(b" ")
            if word == SPAWN:
                owner.send(_spawn(owner, descriptors, int(number_text)))
            else:
                owner.send(str(_reap(int(number_text))).encode())


def _spawn(owner: socket.socket, descriptors: list[int], max_memory_bytes: int) -> bytes:
    """The copy's process number, or why there is none. It gets a channel and shared memory."""
    channel, memory = descriptors
    try:
        pid = os.fork()
    except OSError as error:
        pid, answer = -1, str(error).encode()
    else:
        answer = str(pid).encode()
    if pid:
        os.close(channel)
        os.close(memory)
        return answer
    status = 1
    try:
        owner.close()
        _bound_memory(max_memory_bytes)
        _work(socket.socket(fileno=channel), memory)
        status = 0
    finally:
        os._exit(status)


def _reap(pid: int) -> int:
    """The exit code of a copy that has ended, or is about to and is not waited for long."""
    until = time.monotonic() + REAP_SECONDS
    try:
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
    except ChildProcessError:  # of another such process, which is gone
        return -signal.SIGKILL
    return os.waitstatus_to_exitcode(ended[1])


def _bound_memory(max_memory_bytes: int) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # a Path costs more than the copy
        used_bytes = int(file.read().split()[0]) * resource.getpagesize()
    wanted = used_bytes + OWN_BYTES + max_memory_bytes
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _work(channel: socket.socket, memory: int) -> None:
    while message := channel.recv(TASK_BYTES):
        (length,) = LENGTH.unpack_from(message)
        task = _task(message[LENGTH.size :])
        # The kernel ends the process when the time is up, whatever library it is in.
        signal.setitimer(signal.ITIMER_PROF, task.limits.max_cpu_seconds)
        answer, size = _answer(task, memory, length)
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.send(json.dumps(answer).encode())
        if max(size, length) > LARGE_BYTES:
            return_memory()


@lru_cache(maxsize=16)
def task_text(task: Task) -> bytes:
    """The task as it is sent."""
    return json.dumps([task.spec.model_dump(), vars(task.limits), task.want]).encode()


@lru_cache(maxsize=16)
def _task(text: bytes) -> Task:
    spec, limits, want = json.loads(text)
    return Task(PixelSpec(**spec), Limits(**limits), want)


def _answer(task: Task, memory: int, length: int) -> tuple[Answer, int]:
    """What goes back, and the bytes that were put into the shared memory in the file's place."""
    data = os.pread(memory, length, 0)
    if length > LARGE_BYTES:
        os.ftruncate(memory, 0)
    try:
        image, header = decode_with_header(data, task.spec, task.limits)
        pixels = to_pixels(image, task.spec) if task.want == "pixels" else np.asarray(image)
    except ImageError as error:
        return {"error": type(error).__name__, "detail": str(error)}, 0
    height, width, _ = pixels.shape
    written = os.pwrite(memory, np.ascontiguousarray(pixels).data, 0)
    if written != pixels.nbytes:
        return {"error": ImageTooLarge.__name__, "detail": "The picture needs more memory than may be shared."}, written
    return {"width": width, "height": height, "header": _fields(header)}, written


def _fields(header: Header) -> tuple[str, str, int, int, int]:
    return header.form, header.mode, header.width, header.height, header.orientation


if __name__ == "__main__":
    main(int(sys.argv[1]))
