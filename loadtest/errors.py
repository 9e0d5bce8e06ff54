"""What can be wrong with a load test itself."""

from salver.errors import SalverError


class LoadTestError(SalverError):
    """The run cannot be done as asked; the message says what to change."""
