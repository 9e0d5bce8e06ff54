"""`make bench`: the service against the limit of this machine, measured in turn in one run.

The limit is an in-process loop of decode and `session.run` with no HTTP: as many threads as cores, one image each, on
the same images. A ratio of 1.0 would mean that HTTP, JSON, base64, queue and answers cost nothing.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import uvloop

from loadtest.traffic.photos import render
from salver.artifact.bounds.model_bytes import only_outputs
from salver.artifact.graph import read_manifest
from salver.artifact.pixels import decode, to_pixels
from salver.deployment.ready import free_port, process_of, serve_command
from salver.system.cores import available_cores
from service.scoring.model import Model, load_model
from tools.bench.load import Load, request_bytes, run_load
from tools.bench.machine import Clock, cpu_seconds, processor_name, resident_mebibytes

CORES = available_cores()
THUMBNAIL, VGA, PHONE = (300, 225), (640, 480), (4000, 3000)
POOL = 16
"""Different images in a pool: one repeated image would stay in the processor's caches and flatter everybody."""
START_SECONDS = 20
LOG = Path("build/bench.log")
"""What the service that is being measured says."""
DISTURBED = 0.05
"""Share of the cores taken by other processes from which a run is called disturbed."""


@dataclass(frozen=True)
class Bar:
    """What a measure has to reach."""

    measure: str
    bar: float
    at_least: bool = True


BARS = (
    *(Bar(f"float, {n} connections: service / limit", 0.94) for n in (8, 32, 128)),
    *(Bar(f"int8, {n} connections: service / int8 limit", 0.88) for n in (8, 32, 128)),
    Bar("int8 service / float service, 32 connections", 2.5),
    Bar("float, 1 connection: images/s / limit", 0.74),
    Bar("front cost, ms of CPU a request", 0.25, at_least=False),
    Bar("float, 8 connections: p99 / p50", 1.3, at_least=False),
    Bar("float, 128 connections: p99 / p50", 1.1, at_least=False),
    Bar("float, 8 connections: a file with all outputs / with logits alone", 0.99),
    Bar("12-megapixel photos, 8 connections: service / limit", 0.90),
    Bar("good requests that failed beside a client of broken images", 0, at_least=False),
    Bar("lists of 8, 8 connections: images/s / limit", 0.96),
    Bar("memory after 1,000 mixed requests, MiB", 300, at_least=False),
    Bar("memory after 10,000 / after 1,000", 1.05, at_least=False),
    Bar("start to first right answer, s", 1.5, at_least=False),
)


@dataclass
class Bench:
    """The figures of each measure, one a round."""

    seconds: float
    figures: dict[str, list[float]] = field(default_factory=dict)
    disturbed: list[str] = field(default_factory=list)

    def note(self, measure: str, figure: float) -> None:
        """Keep a figure, and show it."""
        self.figures.setdefault(measure, []).append(figure)
        print(f"  {measure}: {figure:.3f}", flush=True)  # noqa: T201

    @contextmanager
    def watched(self, name: str, *pids: int) -> Iterator[None]:
        """Note when other processes take the cores meanwhile."""
        before, began = Clock.now(*pids), time.perf_counter()
        yield
        share = Clock.now(*pids).others_since(before) / (time.perf_counter() - began) / CORES
        if share > DISTURBED:
            self.disturbed.append(f"{name}: other processes took {share:.0%} of the cores")

    def limit(self, name: str, model: Model, photos: Sequence[bytes]) -> float:
        """Images a second of decode and `session.run` on every core, with no HTTP."""
        done = [0] * CORES
        end = time.perf_counter() + self.seconds

        def work(thread: int) -> None:
            while time.perf_counter() < end:
                score(model, photos[(done[thread] * CORES + thread) % len(photos)])
                done[thread] += 1

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(CORES)]
        began = time.perf_counter()
        with self.watched(name):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        speed = sum(done) / (time.perf_counter() - began)
        self.note(f"{name} limit, images/s", speed)
        return speed

    def load(self, name: str, service: "Service", requests: Sequence[bytes], connections: int) -> Load:
        """One stretch of closed-loop load; every answer must be a 200."""
        with self.watched(name, service.pid):
            load = uvloop.run(run_load(service.port, requests, connections, self.seconds))
        if load.failures:
            raise SystemExit(f"{name}: {load.failures} requests failed")
        return load


def score(model: Model, photo: bytes) -> None:
    """One image, as a scoring thread does it."""
    spec = model.manifest.pixels
    model.run(to_pixels(decode(photo, spec), spec)[np.newaxis])


def photos(size: tuple[int, int], count: int = POOL) -> list[bytes]:
    """Different ones of so many pixels."""
    return [render(size, seed) for seed in range(count)]


def list_requests(pool: Sequence[bytes], length: int = 1) -> list[bytes]:
    """JSON requests of `length` images each."""
    items = [{"image_in_base64": base64.b64encode(photo).decode()} for photo in pool]
    bodies = [json.dumps(items[start : start + length]).encode() for start in range(0, len(items), length)]
    return [request_bytes("/score", "application/json", body) for body in bodies]


@dataclass(frozen=True)
class Service:
    """A running service process."""

    pid: int
    port: int
    start_seconds: float
    """From the start of the process to its first right answer."""


@contextmanager
def running(model: Path, first: bytes, command: Callable[[int], Sequence[str]] = serve_command) -> Iterator[Service]:
    """Start the command of a port, wait for its first 200 on `first`, and end it afterwards."""
    port = free_port()
    settings = {"SALVER_MODEL": str(model), "SALVER_DRAIN_SECONDS": "0", "SALVER_LOG_FORMAT": "text"}
    LOG.parent.mkdir(exist_ok=True)
    began = time.perf_counter()
    with LOG.open("w") as log, process_of(command(port), os.environ | settings, log) as process:
        while time.perf_counter() - began < START_SECONDS:
            try:
                if not uvloop.run(run_load(port, [first], 1, count=1)).failures:
                    break
            except OSError:
                time.sleep(0.01)
        yield Service(process.pid, port, time.perf_counter() - began)


def front_command(port: int) -> list[str]:
    """The service without decode and inference."""
    return [sys.executable, "-P", "-m", "tools.bench.front", str(port)]


def measure_speed(bench: Bench, float_path: Path, int8_path: Path | None, rounds: int) -> None:
    """The ratios to the limit, side by side in each round."""
    vga, phones = photos(VGA), photos(PHONE, 4)
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", flush=True)  # noqa: T201
        float_speed = measure_model(bench, "float", float_path, vga)
        if int8_path is not None:
            int8_speed = measure_model(bench, "int8", int8_path, vga)
            bench.note("int8 service / float service, 32 connections", int8_speed / float_speed)
        measure_outputs(bench, float_path, vga, number)
        measure_manners(bench, float_path, vga, phones)


def measure_model(bench: Bench, kind: str, path: Path, vga: list[bytes]) -> float:
    """Service against limit at several numbers of connections; images/s of the service at 32."""
    speeds: dict[int, float] = {}
    requests = list_requests(vga)
    limit = bench.limit(kind, load_model(str(path), "cpu", CORES), vga)
    name = f"{kind} limit" if kind == "int8" else "limit"
    with running(path, requests[0]) as service:
        for connections in (8, 32, 128):
            load = bench.load(kind, service, requests, connections)
            speeds[connections] = load.requests_per_second
            bench.note(f"{kind}, {connections} connections: service / {name}", speeds[connections] / limit)
            bench.note(f"{kind}, {connections} connections: p99 / p50", load.percentile(99) / load.percentile(50))
    return speeds[32]


def measure_outputs(bench: Bench, path: Path, vga: list[bytes], turn: int) -> None:
    """What outputs that nobody asks for cost, and beside it what the same file twice differs by.

    Of three services one is a little faster than its neighbours, whatever it serves: each is the first in its `turn`.
    """
    requests = list_requests(vga)
    with tempfile.TemporaryDirectory() as folder:
        alone = logits_alone(path, Path(folder) / "logits.onnx")
        with (
            running(alone, requests[0]) as one,
            running(path, requests[0]) as whole,
            running(alone, requests[0]) as two,
        ):
            services = [one, whole, two]
            order = services[turn % 3 :] + services[: turn % 3]
            speeds = dict.fromkeys((service.port for service in services), 0.0)
            for service in order + order[::-1]:
                speeds[service.port] += bench.load("outputs", service, requests, 8).requests_per_second
    light = speeds[one.port] + speeds[two.port]
    bench.note("float, 8 connections: a file with all outputs / with logits alone", 2 * speeds[whole.port] / light)
    bench.note("the same: logits alone / logits alone", speeds[one.port] / speeds[two.port])


def logits_alone(path: Path, target: Path) -> Path:
    """The same net in a file that answers nothing else."""
    data = path.read_bytes()
    model = onnx.load_model_from_string(only_outputs(data, ["logits"]))
    model.DiscardUnknownFields()  # what was given up
    manifest = read_manifest(data).model_copy(update={"features": None, "familiarity": None, "heat": None})
    onnx.helper.set_model_props(model, manifest.to_metadata())
    target.write_bytes(model.SerializeToString())
    return target


def measure_manners(bench: Bench, path: Path, vga: list[bytes], phones: list[bytes]) -> None:
    """A lone client, lists, big photos, and good clients beside a broken one."""
    model = load_model(str(path), "cpu", CORES)
    limit, phone_limit = bench.limit("again", model, vga), bench.limit("12-megapixel", model, phones)
    requests, lists = list_requests(vga), list_requests(vga, 8)
    with running(path, requests[0]) as service:
        bench.note("start to first right answer, s", service.start_seconds)
        alone = bench.load("alone", service, requests, 1)
        bench.note("float, 1 connection: images/s / limit", alone.requests_per_second / limit)
        bench.note("float, 1 connection: p50, ms", alone.percentile(50) * 1000)
        listed = bench.load("lists", service, lists, 8)
        bench.note("lists of 8, 8 connections: images/s / limit", listed.requests_per_second * 8 / limit)
        big = bench.load("12-megapixel", service, list_requests(phones), 8)
        measure = "12-megapixel photos, 8 connections: service / limit"
        bench.note(measure, big.requests_per_second / phone_limit)
        broken = list_requests([photo[: len(photo) // 2] for photo in vga])
        good = uvloop.run(_beside(service.port, requests, broken, bench.seconds))
        bench.note("good requests that failed beside a client of broken images", good.failures)


async def _beside(port: int, good: Sequence[bytes], broken: Sequence[bytes], seconds: float) -> Load:
    """The load of seven good clients while an eighth sends broken images."""
    loads = await asyncio.gather(run_load(port, good, 7, seconds), run_load(port, broken, 1, seconds))
    return loads[0]


def measure_front(bench: Bench, path: Path, count: int = 3000) -> None:
    """Processor time of everything but decode and inference, for a 640 x 480 base64 image in a request."""
    requests = list_requests(photos(VGA))
    with running(path, requests[0], front_command) as service:
        uvloop.run(run_load(service.port, requests, 8, count=count // 10))
        before = cpu_seconds(service.pid)
        uvloop.run(run_load(service.port, requests, 8, count=count))
        bench.note("front cost, ms of CPU a request", (cpu_seconds(service.pid) - before) / count * 1000)


def measure_memory(bench: Bench, path: Path) -> None:
    """Memory of the service after 1,000 and after 10,000 requests of all sizes, lists and broken images too."""
    thumbnails, vga, phones = photos(THUMBNAIL, 32), photos(VGA), photos(PHONE, 2)
    mixed = list_requests(thumbnails) * 2 + list_requests(vga) + list_requests(thumbnails, 8) + list_requests(phones)
    mixed += list_requests([photo[:5000] for photo in vga])
    random.Random(0).shuffle(mixed)  # noqa: S311
    with running(path, mixed[0]) as service:
        early = _median_memory(service, mixed)
        bench.note("memory after 1,000 mixed requests, MiB", early)
        uvloop.run(run_load(service.port, mixed, 16, count=8000))
        bench.note("memory after 10,000 / after 1,000", _median_memory(service, mixed) / early)


def _median_memory(service: Service, requests: Sequence[bytes], count: int = 1000) -> float:
    """MiB, looked at twice a second while so many requests are answered."""
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            seen.append(resident_mebibytes(service.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    uvloop.run(run_load(service.port, requests, 16, count=count))
    over.set()
    watcher.join()
    return median(seen)


def report(bench: Bench, path: Path) -> bool:
    """Print the medians against their bars and write them as JSON; whether every bar that was measured is met."""
    rows = []
    for bar in BARS:
        if bar.measure in bench.figures:
            figure = median(bench.figures[bar.measure])
            rows.append((bar, figure, figure >= bar.bar if bar.at_least else figure <= bar.bar))
    for bar, figure, met in rows:
        sign = ">=" if bar.at_least else "<="
        print(f"{bar.measure:<62} {figure:>8.3f}  {sign} {bar.bar:<6g} {'met' if met else 'MISSED'}")  # noqa: T201
    for line in bench.disturbed:
        print(f"disturbed: {line}")  # noqa: T201
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor_name(), "cores": CORES}
    path.write_text(json.dumps({"machine": machine, "figures": bench.figures, "disturbed": bench.disturbed}, indent=2))
    return all(met for _, _, met in rows)


def main() -> int:
    """Measure, print, write; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.service", description=__doc__)
    parser.add_argument("float_model", type=Path, help="model.onnx of a ResNet-18 at 224 pixels")
    parser.add_argument("int8_model", type=Path, nargs="?", help="the same net as int8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each stretch of load")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where to write the figures")
    arguments = parser.parse_args()
    bench = Bench(arguments.seconds)
    measure_speed(bench, arguments.float_model, arguments.int8_model, arguments.rounds)
    measure_front(bench, arguments.float_model)
    measure_memory(bench, arguments.float_model)
    return 0 if report(bench, arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
