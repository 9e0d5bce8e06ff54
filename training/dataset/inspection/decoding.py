"""Where training decodes photos: in processes that are ended when one costs more than it may."""

import atexit
from functools import cache

from salver.artifact.bounds.decoders import Decoders


@cache
def decoders() -> Decoders:
    """For all threads of this process; made when first needed."""
    made = Decoders()
    atexit.register(made.close)
    return made
