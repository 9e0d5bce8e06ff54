"""Work that may take for ever, beside the event loop: reading files, which may lie in another building."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from service.errors import outcome

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
        result = outcome(action)
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(tell, result)

    started = outcome(threading.Thread(target=work, name="file-reader", daemon=True).start)
    return started if isinstance(started, Exception) else await done
