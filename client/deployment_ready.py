"""Waiting until a service says that it is ready."""

import time
from collections.abc import Callable

import httpx

from client.errors import DeploymentFailed

LOOK_SECONDS = 0.1


def answers_ready(url: str) -> bool:
    """Whether /readyz says yes now."""
    try:
        with httpx.stream("GET", f"{url}/readyz", timeout=5) as answer:  # the head says it; nobody reads the rest
            return answer.is_success
    except httpx.TransportError:
        return False


def wait_until_ready(url: str, timeout_seconds: float, alive: Callable[[], bool]) -> None:
    """Return when it is ready. Raises DeploymentFailed when it ended or the time is over."""
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        if answers_ready(url):
            return
        if not alive():
            raise DeploymentFailed("The service ended before it was ready.")
        time.sleep(LOOK_SECONDS)
    raise DeploymentFailed(f"The service was not ready within {timeout_seconds:g} seconds.")
