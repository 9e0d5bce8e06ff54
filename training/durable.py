"""Files that are either whole or not there."""

from artifact.durable import PARTIALS, durable

__all__ = ["PARTIALS", "durable"]
