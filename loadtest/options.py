"""What a run is asked to do: Locust's command line with some options of ours, as one frozen value."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.arrivals import Kind as ArrivalKind
from loadtest.errors import LoadTestError
from loadtest.payload import Kind
from loadtest.photos import SIZES
from loadtest.shape import Shape

if TYPE_CHECKING:
    # Importing Locust changes the sockets and threads of the whole process.
    from locust.argument_parser import LocustArgumentParser

DEFAULT_MIX = "base64=10,list=2,raw=4,broken=1"
DEFAULT_SIZES = "thumbnail=2,vga=7,phone=1"
ENDLESS_SECONDS = 7 * 24 * 3600.0
MOST_INTERVALS = 600


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    users: int
    """Closed loop: users at the peak. Open loop: the most requests at once."""
    seconds: float
    """Length of the run, its warm-up included."""
    warm_up_seconds: float
    rate: float | None
    """Requests a second at the peak; None is the closed loop."""
    arrivals: ArrivalKind
    shape: Shape
    think_seconds: float
    mix: Mapping[Kind, int]
    sizes: Mapping[str, int]
    images: Path | None
    file_host: str
    timeout_seconds: float
    key: str
    p99_ms: float | None
    error_rate: float
    min_rate: float | None
    metrics_url: str
    out: Path | None
    result: Path | None

    @property
    def interval_seconds(self) -> float:
        """Width of a point in time in the report: a second, or more when the run is long."""
        return max(1.0, self.seconds / MOST_INTERVALS)


def add_arguments(parser: "LocustArgumentParser") -> None:
    """Our options; each is the environment variable LOADTEST_NAME, too."""

    def add(
        name: str, kind: type, default: object, help: str, choices: Sequence[str] | None = None, variable: str = ""
    ) -> None:
        variable = variable or f"LOADTEST_{name.upper().replace('-', '_')}"
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=default,
            help=help,
            choices=choices,
            env_var=variable,
            dest=_field(name),
            is_secret=name == "key",
        )

    add("rate", float, None, "Open loop: requests a second at the peak; --users is then the most at once")
    add("arrivals", str, "poisson", "Open loop: how requests follow each other", ("poisson", "constant"))
    add("shape", str, "constant", "How the load changes over the run", [shape.value for shape in Shape])
    add("warm-up", float, 5.0, "Seconds at the start that are left out of every number")
    add("think-seconds", float, 0.0, "Closed loop: how long a user waits after an answer")
    add("mix", str, DEFAULT_MIX, f"Weights of the kinds of request: {', '.join(Kind)}")
    add("sizes", str, DEFAULT_SIZES, f"Weights of the rendered photos: {', '.join(SIZES)}")
    add("images", Path, None, "Send the image files of this folder instead")
    add("file-host", str, "127.0.0.1", "This machine's address as the service reaches it, for URL items")
    add("timeout", float, 30.0, "Seconds after which a request has failed")
    add("p99-ms", float, None, "Gate: largest 99th percentile of the latency, in milliseconds")
    add("error-rate", float, 0.01, "Gate: largest share of failed requests")
    add("min-rate", float, None, "Gate: fewest images scored a second")
    add("key", str, "", "Key of the service", variable="SALVER_KEY")
    add("metrics-url", str, "", "The service's metrics; HOST/metrics unless named, 'off' for none")
    add("out", Path, None, "Folder for report.html, result.json and Locust's own HTML and CSV")
    add("result", Path, None, "File for the result alone, as JSON")


def _field(name: str) -> str:
    # Locust sends to its workers what msgpack can carry, under names that are not its own.
    return "loadtest_" + name.replace("-", "_")


def read(options: Namespace) -> Options:
    """Our options in what Locust parsed. Raises LoadTestError naming a wrong one."""
    mine = {name.removeprefix("loadtest_"): value for name, value in vars(options).items() if "loadtest_" in name}
    for name in ("rate", "timeout", "p99_ms"):
        if mine[name] is not None and mine[name] <= 0:
            raise LoadTestError(f"--{name.replace('_', '-')} is {mine[name]:g}: give a number above 0.")
    seconds = float(options.run_time or mine.get("seconds") or ENDLESS_SECONDS)
    if mine["warm_up"] >= seconds:
        raise LoadTestError(f"A run of {seconds:g} s is over before --warm-up ({mine['warm_up']:g} s): make it longer.")
    if seconds == ENDLESS_SECONDS and mine["shape"] != Shape.CONSTANT:
        raise LoadTestError(f"--shape {mine['shape']} needs a length: add --run-time, such as --run-time 10m.")
    return Options(
        users=int(mine.get("users") or options.num_users or 1),
        seconds=seconds,
        warm_up_seconds=mine["warm_up"],
        rate=mine["rate"],
        arrivals=mine["arrivals"],
        shape=Shape(mine["shape"]),
        think_seconds=mine["think_seconds"],
        mix={Kind(name): weight for name, weight in weights("--mix", mine["mix"], list(Kind)).items()},
        sizes=weights("--sizes", mine["sizes"], list(SIZES)),
        images=_path(mine["images"]),
        file_host=mine["file_host"],
        timeout_seconds=mine["timeout"],
        key=mine["key"],
        p99_ms=mine["p99_ms"],
        error_rate=mine["error_rate"],
        min_rate=mine["min_rate"],
        metrics_url=mine["metrics_url"],
        out=_path(mine["out"]),
        result=_path(mine["result"]),
    )


def share(options: Namespace) -> None:
    """Make what workers must know of Locust's own options part of what the master sends them."""
    vars(options).update(
        loadtest_users=options.num_users or 1,
        loadtest_seconds=options.run_time,
        **{_field(name): str(vars(options)[_field(name)] or "") for name in ("images", "out", "result")},
    )


def weights(option: str, text: str, known: Sequence[str]) -> dict[str, int]:
    """`a=3,b=1` as numbers, those of 0 left out. Raises LoadTestError naming what is wrong."""
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if name not in known or not number.isdecimal():
            raise LoadTestError(f"{option} has '{part}': write NAME=WEIGHT, with a NAME of {', '.join(known)}.")
        found[str(name)] = int(number)
    found = {name: weight for name, weight in found.items() if weight}
    if not found:
        raise LoadTestError(f"{option} is empty: give at least one weight above 0, such as {known[0]}=1.")
    return found


def _path(text: Path | str | None) -> Path | None:
    return Path(text) if text else None
