"""On what the model runs here, and how far its answer to the test card is from training's."""

import platform
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

CPUINFO = Path("/proc/cpuinfo")
MATTERS = (
    *("avx", "avx2", "fma", "f16c", "avx_vnni"),
    *("avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve"),  # ARM: vectors, half precision, dot products
)
"""What onnxruntime chooses its code by, as Linux names it."""


@dataclass(frozen=True, slots=True)
class Passport:
    """What a run of the model depends on besides the file."""

    engine: str
    engine_version: str
    provider: str
    """The onnxruntime provider that the session really runs on."""
    cpu: str
    """The architecture."""
    cpu_features: tuple[str, ...]
    """Empty where the system does not tell."""
    card_difference: float
    """The largest between the logits that training recorded for the test card and those given here, at this start."""

    def __str__(self) -> str:
        cpu = " ".join([self.cpu, *self.cpu_features])
        return (
            f"{self.engine} {self.engine_version} on {self.provider} ({cpu}), "
            f"logits of the test card within {self.card_difference:.2g} of training's"
        )


def passport(provider: str, card_difference: float) -> Passport:
    """Of this machine."""
    return Passport("onnxruntime", ort.__version__, provider, platform.machine(), cpu_features(), card_difference)


def cpu_features(cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """Those of the first core that matter, in the order of MATTERS."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:  # not Linux, or hidden from a container
        return ()
    named = (line.partition(":") for line in lines)
    flags = next((text.split() for name, _, text in named if name.strip().lower() in ("flags", "features")), [])
    return tuple(feature for feature in MATTERS if feature in flags)
