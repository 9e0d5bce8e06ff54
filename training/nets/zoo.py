"""torchvision's nets, without torch's compiler, which importing torchvision would import for the sake of one question.

`torchvision.ops` asks `torch._dynamo` whether the device can compile when somebody calls an operator that no net of
ours has. That import takes 0.8 s of a core, a sixth of a whole run of `--head svm`; it is put off until somebody asks.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

COMPILER = "torch._dynamo.utils"


@contextmanager
def _put_off() -> Iterator[None]:
    """While it lasts, the compiler's module is one that imports the real one when something of it is used."""
    if COMPILER in sys.modules:
        yield
        return
    sys.modules[COMPILER] = _StandIn(COMPILER)
    try:
        yield
    finally:
        if isinstance(sys.modules[COMPILER], _StandIn):
            del sys.modules[COMPILER]


class _StandIn(ModuleType):
    """Knows what this version of torchvision imports, and gets anything else from the real one at once."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        return bool(import_module(COMPILER).is_compile_supported(device_type))

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # the import system looks for these
            raise AttributeError(name)
        del sys.modules[COMPILER]
        return getattr(import_module(COMPILER), name)


with _put_off():
    from torchvision import models

__all__ = ["models"]
