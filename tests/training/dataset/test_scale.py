"""Ten thousand images: `make test-scale` runs this and prints the figures."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from tests.support.images import encode, picture

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
ORIGINALS, COPIES = 8_000, 2_000
WIDTH, HEIGHT = 400, 300


class Run(NamedTuple):
    seconds: float
    peak_bytes: int


def write_photo(task: tuple[Path, int]) -> None:
    folder, number = task
    image = picture(WIDTH, HEIGHT, number)
    (folder / f"{number}.jpg").write_bytes(encode(image, "JPEG", quality=90))
    if number < COPIES:
        scale = (0.5, 0.75, 1.25, 1.5)[number % 4]
        size = round(WIDTH * scale), round(HEIGHT * scale)
        copy = image.resize(size, (Image.Resampling.BILINEAR, Image.Resampling.LANCZOS)[number % 2])
        quality = (50, 65, 80)[number % 3]
        (folder / f"{number}-copy.jpg").write_bytes(encode(copy, "JPEG", quality=quality))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many") / "photos"
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
    tasks = [(root / "ab"[number % 2], number) for number in range(ORIGINALS)]
    with multiprocessing.Pool(2) as pool:
        pool.map(write_photo, tasks, chunksize=100)
    return root


SCRIPT = """
import resource, sys, time
from pathlib import Path
from training.dataset.check import check
root = Path(sys.argv[1])
start = time.perf_counter()
report = check(root)
seconds = time.perf_counter() - start
peaks = [resource.getrusage(whose).ru_maxrss for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(seconds, max(peaks))
report.write(root / "check.json")
"""


def check(photos: Path) -> Run:
    """In a process and with a cache of its own, which measures itself: other tests' processes may take more memory."""
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(photos.parent / "cache")}
    command = [sys.executable, "-c", SCRIPT, str(photos)]
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    seconds, peak = result.stdout.split()
    return Run(float(seconds), int(peak) * 1024)


def test_ten_thousand_images_are_checked_in_time_and_memory_and_their_copies_found(photos: Path) -> None:
    first = check(photos)
    second = min(check(photos) for _ in range(3))
    report = json.loads((photos / "check.json").read_text())
    groups = next(finding["items"] for finding in report["findings"] if finding["kind"] == "near duplicates")
    pairs = {frozenset(item["images"]) for item in groups}
    wanted = {frozenset((f"{'ab'[n % 2]}/{n}.jpg", f"{'ab'[n % 2]}/{n}-copy.jpg")) for n in range(COPIES)}
    recall = sum(any(pair <= group for group in pairs) for pair in wanted) / len(wanted)
    false = sum(not any(pair <= group for pair in wanted) or len(group) > 2 for group in pairs)
    line = (
        f"{report['images']} images: first {first.seconds:.1f} s, second {second.seconds:.2f} s, peak "
        f"{first.peak_bytes / 1e6:.0f} MB; recall {recall:.4f}, {false} false groups"
    )
    print(line)  # noqa: T201
    assert report["images"] == ORIGINALS + COPIES
    assert first.seconds < 180
    assert second.seconds < first.seconds / 10
    assert first.peak_bytes < 1.5e9
    assert recall >= 0.99
    assert false <= 0.001 * len(pairs)
