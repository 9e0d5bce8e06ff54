"""Decoding in processes that can be ended: no file, however it was made, costs more than `Limits` says.

A thread that waits for a decoder in its own process can stop waiting, but the work goes on. Here the kernel ends it:
at its share of memory, at its seconds of a core, and when nobody wants the answer any more. Light photos are decoded
where they are: the hand-over to a process would cost a tenth of the images a second (docs/decisions/0010-bounds.md).
"""

import atexit
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salver.artifact.bounds.decoding import LARGE_BYTES, LENGTH, REAP, SPAWN, TASK_BYTES, Answer, Task, task_text
from salver.artifact.bounds.structure import is_light
from salver.artifact.errors import CorruptImage, DecodingUnavailable, ImageError, ImageTooLarge, UnsupportedImage
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import DEFAULT_LIMITS, Header, Limits, decode_with_header, to_pixels
from salver.text import counted

LOOK_SECONDS: Final = 0.25
"""How often a thread that waits looks whether its answer is still wanted."""
STUCK_SECONDS: Final = 30.0
"""A decoding process that has neither answered nor used up its time by then stands still, and is ended."""
_KINDS: Final = {kind.__name__: kind for kind in (ImageTooLarge, UnsupportedImage, CorruptImage)}
ENVIRONMENT: Final = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One thread decodes, and address space that other threads might use would count against the image."""


class Decoders:
    """For files that are not light, decoding processes: as many as threads have asked at one time, one for a thread.

    Close it, or use it as a context manager.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._idle: list[_Decoder] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, count: int) -> None:
        """Have so many processes ready. Raises DecodingUnavailable."""
        self._idle.extend(_Decoder(self.limits) for _ in range(count - len(self._idle)))

    def close(self) -> None:
        """End the processes. None may be at work."""
        while self._idle:
            self._idle.pop().close()

    def pixels(
        self, data: bytes, spec: PixelSpec, given_up: Callable[[], bool] = lambda: False
    ) -> tuple[NDArray[np.uint8], Header]:
        """What `to_pixels(decode(data))` gives, uint8 [height, width, 3], writable, and what the file says of itself.

        `given_up` tells that nobody wants the answer any more; the work is then ended, and the answer an error.
        Raises what `decode` raises, ImageTooLarge also when the image is over its seconds, and DecodingUnavailable.
        """
        if is_light(data):
            image, header = decode_with_header(data, spec, self.limits)
            return to_pixels(image, spec), header
        return self._ask(data, Task(spec, self.limits, "pixels"), given_up)

    def image(self, data: bytes, spec: PixelSpec) -> tuple[Image.Image, Header]:
        """What `decode_with_header` gives; raises as `pixels` does."""
        if is_light(data):
            return decode_with_header(data, spec, self.limits)
        pixels, header = self._ask(data, Task(spec, self.limits, "image"), lambda: False)
        return Image.fromarray(pixels), header

    def _ask(self, data: bytes, task: Task, given_up: Callable[[], bool]) -> tuple[NDArray[np.uint8], Header]:
        if len(data) > task.limits.max_bytes:
            raise ImageTooLarge(f"The image has {len(data):,} bytes; the limit is {task.limits.max_bytes:,} bytes.")
        try:
            decoder = self._idle.pop()
        except IndexError:
            decoder = _Decoder(self.limits)
        try:
            found = decoder.ask(data, task, given_up)
        except _Ended as ended:
            raise _error_of(ended.exit_code, task.limits) from None
        except ImageError:
            self._idle.append(decoder)
            raise
        except OSError as error:
            decoder.close()
            raise DecodingUnavailable(f"A file cannot be handed to its decoder: {error.strerror}.") from error
        except BaseException:  # Ctrl-C, no memory: it may be at work on an answer that nobody will read
            decoder.close()
            raise
        self._idle.append(decoder)
        return found


class _Ended(Exception):
    """The decoding process ended instead of answering."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def _error_of(exit_code: int, limits: Limits) -> ImageError:
    if -exit_code == signal.SIGPROF:
        return ImageTooLarge(
            f"The image takes more than {counted(limits.max_cpu_seconds, 'second')} of a core to decode, which is the "
            "limit: save it anew, or make it smaller."
        )
    if -exit_code == signal.SIGKILL:
        return ImageTooLarge("Decoding the image was ended: it takes more time or memory than there is.")
    return CorruptImage("The file is corrupt: its decoder failed on it. Save it anew.")


class _Decoder:
    """One process and the memory that it shares."""

    def __init__(self, limits: Limits) -> None:
        try:
            with ExitStack() as undo:
                self._memory = os.memfd_create("salver-image")
                undo.callback(os.close, self._memory)
                self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                undo.callback(self._channel.close)
                with theirs:
                    self._pid = _NURSERY.spawn(theirs, self._memory, limits.max_memory_bytes)
                undo.pop_all()
        except OSError as error:
            raise DecodingUnavailable(f"No process for decoding could be started: {error.strerror}.") from error
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(LOOK_SECONDS))

    def ask(self, data: bytes, task: Task, given_up: Callable[[], bool]) -> tuple[NDArray[np.uint8], Header]:
        """Raises ImageError, or _Ended: then the process is gone, and this object with it."""
        if os.pwrite(self._memory, data, 0) != len(data):
            raise OSError(errno.EFBIG, "this process may write no larger files, nor share as much memory")
        try:
            self._channel.send(LENGTH.pack(len(data)) + task_text(task))
            answer = self._answer(given_up)
        except ConnectionError:
            answer = b""
        if not answer:
            raise _Ended(self.close())
        return self._taken(json.loads(answer), len(data))

    def close(self) -> int:
        """The exit code of the process, which ends by itself when nobody can speak to it."""
        self._channel.close()
        os.close(self._memory)
        return _NURSERY.reap(self._pid)

    def _answer(self, given_up: Callable[[], bool]) -> bytes:
        """Nothing when the process ended."""
        until = time.monotonic() + STUCK_SECONDS
        while True:
            try:
                return self._channel.recv(TASK_BYTES)
            except BlockingIOError:
                if given_up() or time.monotonic() > until:
                    os.kill(self._pid, signal.SIGKILL)

    def _taken(self, answer: Answer, length: int) -> tuple[NDArray[np.uint8], Header]:
        if "error" in answer:
            raise _KINDS[answer["error"]](answer["detail"])
        pixels = np.empty((answer["height"], answer["width"], 3), np.uint8)
        os.preadv(self._memory, [pixels.data], 0)
        if max(pixels.nbytes, length) > LARGE_BYTES:
            os.ftruncate(self._memory, 0)
        return pixels, Header(*answer["header"])


class _Nursery:
    """The process that makes the others, one for all `Decoders`; started when first needed, and anew if it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def start(self) -> None:
        """Start it if it is not there; it is not waited for. Raises OSError."""
        with self._lock:
            self._running()

    def spawn(self, channel: socket.socket, memory: int, max_memory_bytes: int) -> int:
        """The new process's number. Raises OSError."""
        order, descriptors = b"%s %d" % (SPAWN, max_memory_bytes), [channel.fileno(), memory]
        with self._lock:
            answer = self._told(order, descriptors) or self._told(order, descriptors)  # it may just have been killed
        if not answer.isdigit():
            raise OSError(errno.EAGAIN, "the process that starts them could not")
        return int(answer)

    def _told(self, order: bytes, descriptors: list[int]) -> bytes:
        """Its answer; nothing when it is gone."""
        nursery, answer = self._running(), b""
        with suppress(ConnectionError):
            socket.send_fds(nursery, [order], descriptors)
            answer = nursery.recv(TASK_BYTES)
        if not answer:
            self._end()  # it is going: the system may not call it ended yet
            self._channel = None
        return answer

    def reap(self, pid: int) -> int:
        """The exit code of a process that has ended, as `subprocess` has it: minus the signal's number."""
        with self._lock:
            try:
                assert self._channel is not None
                self._channel.send(b"%s %d" % (REAP, pid))
                return int(self._channel.recv(TASK_BYTES) or -signal.SIGKILL)
            except OSError:
                return -signal.SIGKILL

    def _running(self) -> socket.socket:
        if self._channel is None or self._process is None or self._process.poll() is not None:
            self._end()
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "salver.artifact.bounds.decoding", str(theirs.fileno())],
                    env=os.environ | ENVIRONMENT,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
            atexit.register(self._end)
        return self._channel

    def _end(self) -> None:
        """It ends by itself when nobody can speak to it."""
        atexit.unregister(self._end)
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.wait()


_NURSERY: Final = _Nursery()
start_nursery: Final = _NURSERY.start
"""Begins what the first decoder would wait for, about a quarter of a second."""


def _timeval(seconds: float) -> bytes:
    """As SO_RCVTIMEO takes it."""
    whole = int(seconds)
    return whole.to_bytes(8, sys.byteorder) + int((seconds - whole) * 1e6).to_bytes(8, sys.byteorder)
