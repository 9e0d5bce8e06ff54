"""This machine: what memory it, or the container, leaves for bodies in flight and for each image that is decoded, and
on what the model runs here.
"""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

DEFAULT_BYTES = 256 * 1024**2
CGROUP = Path("/sys/fs/cgroup")
NO_LIMIT_BYTES = 2**60
"""How version 1 of cgroups writes that there is none: 2^63 in whole pages."""
MODEL_COPIES = 2
"""A second model holds about twice its file: two sessions."""
HEAT_COPIES = 2
"""Where there is heat, each of both models has a third session in the end, or the file that it is to be made of."""
RESERVE_BYTES = 48 * 1024**2
DECODER_BYTES = 28 * 1024**2
"""Of a decoding process besides an image's pixels: a file of 20 MiB and its own pages."""
LEAST_IMAGE_BYTES = 32 * 1024**2
"""Enough for two megapixels of any format, and for any common photo; a container with less has to be larger."""
CPUINFO = Path("/proc/cpuinfo")
MATTERS = (
    *("avx", "avx2", "fma", "f16c", "avx_vnni"),
    *("avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve"),  # ARM: vectors, half precision, dot products
)
"""What onnxruntime chooses its code by, as Linux names it."""


def default_budget_bytes(max_body_bytes: int, cgroup: Path = CGROUP) -> int:
    """A quarter of the container's memory and at most 256 MiB, but always room for one body of the largest size.

    The other three quarters are for the model, for the images that are being decoded and for the interpreter.
    """
    limit = _container_bytes(cgroup)
    quarter = DEFAULT_BYTES if limit is None else limit // 4
    return max(max_body_bytes, min(DEFAULT_BYTES, quarter))


def image_memory_bytes(
    model_bytes: int, inflight_bytes: int, threads: int, cgroup: Path = CGROUP, *, heat: bool = False
) -> int:
    """What decoding one image may take, so that all threads together stay within the container's memory.

    Asked for when the model is loaded: what is left beside the process as it is then, all bodies in flight, a second
    model while it is changed, and the decoding processes themselves, is shared out among the threads. Where
    no container bounds it, the memory is the machine's.
    """
    limit = _container_bytes(cgroup) or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    models = (MODEL_COPIES + HEAT_COPIES * heat) * model_bytes
    taken = resident_bytes() + inflight_bytes + models + RESERVE_BYTES + threads * DECODER_BYTES
    return max(LEAST_IMAGE_BYTES, (limit - taken) // threads)


def resident_bytes() -> int:
    """Of this process, pages of files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _container_bytes(cgroup: Path) -> int | None:
    return _limit(cgroup / "memory.max") or _limit(cgroup / "memory" / "memory.limit_in_bytes")


def _limit(file: Path) -> int | None:
    """None for no such cgroup version, and for no limit: "max", or a number that no machine has."""
    try:
        limit = int(file.read_text())
    except (OSError, ValueError):
        return None
    return limit if limit < NO_LIMIT_BYTES else None


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
