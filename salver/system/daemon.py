"""Work that may take for ever, beside the event loop: reading files, which may lie in another building."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")


async def in_daemon_thread(action: Callable[[], Result]) -> Result | Exception:
    """What the action gives or raises, or why there is no thread for it. Unlike `asyncio.to_thread` it does not hold up
    the end of the process, however long a store takes to answer.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result | Exception] = loop.create_future()

    def tell(result: Result | Exception) -> None:
        if not done.cancelled():
            done.set_result(result)

    def work() -> None:
        result = caught(action)
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(tell, result)

    started = caught(threading.Thread(target=work, name="file-reader", daemon=True).start)
    return started if isinstance(started, Exception) else await done


def caught(action: Callable[[], Result]) -> Result | Exception:
    """What it gives or raises, as a value for whoever waits on another thread."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001  # nothing is hidden: it is handed on
        return error
