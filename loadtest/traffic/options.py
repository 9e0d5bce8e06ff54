"""What a run is asked to do: Locust's command line with some options of ours, as one frozen value."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from loadtest.errors import LoadTestError
from loadtest.traffic.arrivals import Kind as ArrivalKind
from loadtest.traffic.arrivals import Shape
from loadtest.traffic.payload import Kind
from loadtest.traffic.photos import SIZES, from_folder
from salver.text import printable, validation_message

if TYPE_CHECKING:
    # Importing Locust changes the sockets and threads of the whole process.
    from locust.argument_parser import LocustArgumentParser

DEFAULT_MIX = "base64=10,list=2,raw=4,broken=1"
DEFAULT_SIZES = "thumbnail=2,vga=7,phone=1"
ENDLESS_SECONDS = 7 * 24 * 3600.0
MOST_INTERVALS = 600
MOST_USERS = 100_000
MOST_RATE = 1e6
MOST_WEIGHT = 1000
"""A task stands in Locust's list as often as it weighs."""
HOST_FORM = "write http:// or https:// and the service's address, such as http://127.0.0.1:8000"

Rate = Annotated[float, Field(gt=0, le=MOST_RATE)]
Milliseconds = Annotated[float, Field(gt=0, le=3_600_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Pause = Annotated[float, Field(ge=0, le=86_400)]


class Options(BaseModel):
    """The options of a run, within their ranges."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    users: Annotated[int, Field(ge=1, le=MOST_USERS)]
    """Closed loop: users at the peak. Open loop: the most requests at once."""
    seconds: Annotated[float, Field(gt=0)]
    """Length of the run, its warm-up included."""
    spawn_rate: Rate | None
    """Users that start a second; None is all at once."""
    warm_up_seconds: Pause
    rate: Rate | None
    """Requests a second at the peak; None is the closed loop."""
    arrivals: ArrivalKind
    shape: Shape
    think_seconds: Pause
    mix: Mapping[Kind, int]
    sizes: Mapping[str, int]
    images: Path | None
    file_host: str
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)]
    key: str
    p99_ms: Milliseconds | None
    error_rate: Share
    min_rate: Annotated[float, Field(gt=0)] | None
    metrics_url: str
    out: Path | None
    result: Path | None

    @model_validator(mode="after")
    def _lasts_long_enough(self) -> Self:
        if self.warm_up_seconds >= self.seconds:
            raise ValueError(
                f"A run of {self.seconds:g} s is over before --warm-up ({self.warm_up_seconds:g} s): make it longer"
            )
        if self.seconds == ENDLESS_SECONDS and self.shape != Shape.CONSTANT:
            raise ValueError(f"--shape {self.shape} needs a length: add --run-time, such as --run-time 10m")
        return self

    @property
    def interval_seconds(self) -> float:
        """Width of a point in time in the report: a second, or more when the run is long."""
        return max(1.0, self.seconds / MOST_INTERVALS)


class _Option(NamedTuple):
    """One of ours on Locust's command line."""

    kind: type
    default: object
    help: str
    choices: Sequence[str] | None = None


OURS = {
    "rate": _Option(float, None, "Open loop: requests a second at the peak; --users is then the most at once"),
    "arrivals": _Option(str, "poisson", "Open loop: how requests follow each other", ("poisson", "constant")),
    "shape": _Option(str, "constant", "How the load changes over the run", [shape.value for shape in Shape]),
    "warm-up": _Option(float, 5.0, "Seconds at the start that are left out of every number"),
    "think-seconds": _Option(float, 0.0, "Closed loop: how long a user waits after an answer"),
    "mix": _Option(str, DEFAULT_MIX, f"Weights of the kinds of request: {', '.join(Kind)}"),
    "sizes": _Option(str, DEFAULT_SIZES, f"Weights of the rendered photos: {', '.join(SIZES)}"),
    "images": _Option(Path, None, "Send the image files of this folder instead"),
    "file-host": _Option(str, "127.0.0.1", "This machine's address as the service reaches it, for URL items"),
    "timeout": _Option(float, 30.0, "Seconds after which a request has failed"),
    "p99-ms": _Option(
        float, None, "Gate: largest 99th percentile of the latency, in milliseconds; of 100 answers or more"
    ),
    "error-rate": _Option(float, 0.01, "Gate: largest share of failed requests, 0 to 1"),
    "min-rate": _Option(float, None, "Gate: fewest images scored a second"),
    "key": _Option(str, "", "Key of the service"),
    "metrics-url": _Option(str, "", "The service's metrics; HOST/metrics unless named, 'off' for none"),
    "out": _Option(Path, None, "Folder for report.html, result.json and Locust's own HTML and CSV"),
    "result": _Option(Path, None, "File for the result alone, as JSON"),
}
_NAMES = {"seconds": "run-time", "warm_up_seconds": "warm-up", "timeout_seconds": "timeout"}
"""Options that are not called as their field."""
_RANGES = {
    "greater_than": "give a number above {gt:,.10g}",
    "greater_than_equal": "give a number from {ge:,.10g} on",
    "less_than_equal": "give a number of at most {le:,.10g}",
    "finite_number": "give a finite number",
}


def add_arguments(parser: "LocustArgumentParser") -> None:
    """Our options; each is the environment variable LOADTEST_NAME, too, and the key SALVER_KEY."""
    for name, option in OURS.items():
        parser.add_argument(
            f"--{name}",
            type=option.kind,
            default=option.default,
            help=option.help,
            choices=option.choices,
            env_var="SALVER_KEY" if name == "key" else f"LOADTEST_{name.upper().replace('-', '_')}",
            dest=_field(name),
            is_secret=name == "key",
        )


def _field(name: str) -> str:
    # Locust sends to its workers what msgpack can carry, under names that are not its own.
    return "loadtest_" + name.replace("-", "_")


def check(options: Mapping[str, object]) -> None:
    """Refuse options that Locust's process would refuse, before anything is begun for it. Raises LoadTestError."""
    given = {name.replace("_", "-"): value for name, value in options.items() if value is not None}
    ours = {_field(name): given.get(name, option.default) for name, option in OURS.items()}
    images = read(Namespace(num_users=given.get("users"), run_time=given.get("run-time"), **ours)).images
    if images is not None:
        from_folder(images)
    if "host" in given:
        service_url(str(given["host"]), "--url")


def service_url(host: str, option: str = "--host") -> str:
    """The URL that paths are put behind: a slash at its end is taken off. Raises LoadTestError for what is none."""
    try:
        url = urlsplit(host)
        is_whole = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # brackets without an address, or a port that is no number
        is_whole = False
    if not is_whole or url.query or url.fragment or host != "".join(host.split()):
        raise LoadTestError(f"{option} is '{printable(host)}': {HOST_FORM}.")
    return host.rstrip("/?#")


def read(options: Namespace) -> Options:
    """Our options in what Locust parsed. Raises LoadTestError naming a wrong one."""
    mine = {name.removeprefix("loadtest_"): value for name, value in vars(options).items() if "loadtest_" in name}
    # A worker has its master's length and number of users beside its own.
    seconds = mine.get("seconds") if options.run_time is None else options.run_time
    users = options.num_users if mine.get("users") is None else mine["users"]
    try:
        return Options(
            users=1 if users is None else users,
            seconds=ENDLESS_SECONDS if seconds is None else seconds,
            spawn_rate=getattr(options, "spawn_rate", None),
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
    except ValidationError as error:
        raise LoadTestError(_fault(error)) from None


def _fault(error: ValidationError) -> str:
    """The first option that is wrong, in a sentence."""
    first = error.errors(include_url=False)[0]
    message = validation_message(first["msg"])
    if not first["loc"]:
        return f"{message}."
    field = str(first["loc"][0])
    wanted = _RANGES.get(first["type"], message).format(**first.get("ctx", {}))
    share = ": 5 % is 0.05" if field == "error_rate" else ""
    return f"--{_NAMES.get(field, field.replace('_', '-'))} is {first['input']}: {wanted}{share}."


def share(options: Namespace) -> None:
    """Make what workers must know of Locust's own options part of what the master sends them."""
    vars(options).update(
        loadtest_users=1 if options.num_users is None else options.num_users,
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
        if name in found or len(number) > 4 or int(number) > MOST_WEIGHT:
            raise LoadTestError(f"{option} has '{part}': give each name once, and weights of at most {MOST_WEIGHT}.")
        found[str(name)] = int(number)
    found = {name: weight for name, weight in found.items() if weight}
    if not found:
        raise LoadTestError(f"{option} is empty: give at least one weight above 0, such as {known[0]}=1.")
    return found


def _path(text: Path | str | None) -> Path | None:
    return Path(text) if text else None
