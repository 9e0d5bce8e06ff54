"""A locustfile of somebody's own, with a task that raises."""

from locust import User, constant, task

from loadtest.locustfile import Load, ScoringUser

__all__ = ["Load", "RaisingUser", "ScoringUser"]


class RaisingUser(User):
    """It has a fault."""

    wait_time = constant(0.5)

    @task
    def fail(self) -> None:
        """Raise."""
        raise LookupError("nothing under this key")
