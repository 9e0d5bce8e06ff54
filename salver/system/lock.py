"""One process at a time: a lock file that names who has it, and that no death leaves locked.

The kernel's lock (flock) decides, so a process that is killed lets go by dying, and of two that come at once one wins.
The text in the file is for people, and for volumes whose locks do not reach other machines: there it decides.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salver.text import printable

FOLDER_LOCK = ".salver.lock"
"""Its name inside a folder."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MAX_BYTES = 4096
_LOOKS, _LOOK_SECONDS = 20, 0.01
"""How long a holder is waited for who has the lock and has not yet written its name."""
_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class Taken(Exception):
    """Another process has the lock: `who`, and the `advice` to give, a sentence. The text has both."""

    def __init__(self, who: str, advice: str) -> None:
        super().__init__(f"In use by {who}. {advice}")
        self.who = who
        self.advice = advice


class Holder(BaseModel):
    """Who has a lock. `boot` tells a machine, whatever its containers call themselves, until it starts again."""

    model_config = ConfigDict(frozen=True)

    pid: Annotated[int, Field(ge=1)]
    host: Annotated[str, Field(max_length=255)]
    boot: Annotated[str, Field(max_length=64)]

    @classmethod
    def here(cls) -> Self:
        """This process."""
        return cls(pid=os.getpid(), host=socket.gethostname(), boot=_boot())

    def same_machine(self, other: Self) -> bool:
        """Also after it started again; containers of one machine count as one."""
        return self.host == other.host or (self.boot == other.boot and self.boot != "")

    def __str__(self) -> str:
        return f"process {self.pid} on {printable(self.host)}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which is gone afterwards. Raises Taken at once when it is held, and OSError."""
    descriptor = _take(path)
    try:
        yield
    finally:
        if _is_at(descriptor, path):  # and not another's, where a person removed ours
            path.unlink(missing_ok=True)  # before the lock goes: who opened it meanwhile finds that it is not `path`
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """The same for a folder, which is made where it is missing, and taken away again when it was made for nothing."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / FOLDER_LOCK):
            yield
    finally:
        if is_new:
            with suppress(OSError):  # something lies in it
                folder.rmdir()


def _take(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "It is no file. Remove it", str(path))
            _lock(descriptor)
            if _is_at(descriptor, path):
                _sign(descriptor, path)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it before letting go


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Taken(_named(descriptor), "Wait until it has ended, or end it.") from None
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise


def _sign(descriptor: int, path: Path) -> None:
    """Write our name, unless that of another machine stands there, on whose word alone the lock then rests."""
    before, ours = _holder(descriptor), Holder.here()
    if before is not None and not before.same_machine(ours):
        advice = f"That is another machine: if it has ended there, remove {printable(path)} and start again."
        raise Taken(str(before), advice)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, ours.model_dump_json().encode() + b"\n", 0)
    os.fsync(descriptor)


def _named(descriptor: int) -> str:
    for _ in range(_LOOKS):
        if (holder := _holder(descriptor)) is not None:
            return str(holder)
        time.sleep(_LOOK_SECONDS)
    return "another process"


def _holder(descriptor: int) -> Holder | None:
    """None when nobody has signed, or not in a form that is known."""
    try:
        return Holder.model_validate_json(os.pread(descriptor, _MAX_BYTES, 0))
    except ValidationError:
        return None


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()[:64]
    except OSError:
        return ""
