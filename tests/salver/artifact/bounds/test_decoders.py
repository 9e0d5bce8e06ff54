"""The kernel ends what costs too much; the next image is decoded as if nothing had been."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.errors import CorruptImage, ImageError, ImageTooLarge
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import Limits, decode, decode_with_header, to_pixels
from tests.support import hostile
from tests.support.images import encode
from tests.support.pictures import noise, orientation

SPEC = PixelSpec(height=24, width=24, shorter_side=30)
ROOT = Path(__file__).parents[4]
GOOD = encode(noise(40, 60), "TIFF")
"""Of a format that is never light, so that a process decodes it."""


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(Limits(max_bytes=8 * 2**20)) as decoders:
        yield decoders


def children() -> set[int]:
    """The decoding processes of this process: those that the one below it has made."""
    nurseries = [child for child in psutil.Process().children() if "salver.artifact.bounds.decoding" in child.cmdline()]
    return {process.pid for nursery in nurseries for process in nursery.children()}


def started(decoders: Decoders) -> int:
    """The number of its one process."""
    before = children()
    decoders.start(1)
    (pid,) = children() - before
    return pid


def slow() -> bytes:
    """Takes about half a second of a core."""
    return encode(noise(2400, 2400), "WEBP", lossless=True, method=0, quality=0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_a_process_gives_the_pixels_and_the_picture_that_this_one_would(decoders: Decoders, form: str) -> None:
    for image in (noise(40, 61), noise(3, 2), noise(1500, 1500).resize((1500, 1500))):
        data = encode(image, form)
        np.testing.assert_array_equal(decoders.pixels(data, SPEC)[0], to_pixels(decode(data, SPEC), SPEC))
        found, header = decoders.image(data, SPEC)
        own, own_header = decode_with_header(data, SPEC)
        assert (found.tobytes(), header) == (own.tobytes(), own_header)


def test_the_header_says_how_the_file_was_turned(decoders: Decoders) -> None:
    image, header = decoders.image(encode(noise(40, 60), "JPEG", exif=orientation(6)), SPEC)
    assert (image.size, header.width, header.height, header.orientation) == ((40, 60), 60, 40, 6)
    assert (header.form, header.mode) == ("JPEG", "RGB")


def test_large_pictures_pass_whole_and_leave_no_memory_behind(decoders: Decoders) -> None:
    data = encode(Image.new("RGB", (5000, 4000), (1, 2, 3)), "PNG")
    image, _ = decoders.image(data, PixelSpec(height=4096, width=4096, resize="stretch"))
    assert image.size == (5000, 4000)
    assert image.getpixel((4999, 3999)) == (1, 2, 3)
    assert all(os.fstat(decoder._memory).st_size == 0 for decoder in decoders._idle)


@pytest.mark.parametrize("data", [b"", b"no image", GOOD[:300], bytes(8 * 2**20 + 1)])
def test_what_decoding_refuses_is_refused_in_the_same_words(decoders: Decoders, data: bytes) -> None:
    with pytest.raises(ImageError) as own:
        decode(data, SPEC, decoders.limits)
    with pytest.raises(type(own.value)) as refusal:
        decoders.pixels(data, SPEC)
    assert str(refusal.value) == str(own.value)


def test_a_light_photo_is_decoded_where_it_is_and_no_process_is_started() -> None:
    with Decoders() as decoders:
        for form in ("JPEG", "PNG", "WEBP"):
            data = encode(noise(400, 600), form)
            np.testing.assert_array_equal(decoders.pixels(data, SPEC)[0], to_pixels(decode(data, SPEC), SPEC))
            assert decoders.image(data, SPEC)[1].width == 600
        assert decoders._idle == []
        decoders.pixels(GOOD, SPEC)
        assert len(decoders._idle) == 1


def test_an_image_over_its_seconds_is_ended_by_the_kernel_and_the_next_one_is_decoded() -> None:
    with Decoders(Limits(max_cpu_seconds=0.1)) as decoders:
        data = slow()
        for _ in range(2):
            with pytest.raises(ImageTooLarge, match=r"takes more than 0\.1 seconds of a core to decode"):
                decoders.pixels(data, SPEC)
            assert decoders.pixels(GOOD, SPEC)[0].shape == (24, 24, 3)


def test_many_images_of_one_process_do_not_add_up_to_the_seconds_of_one() -> None:
    with Decoders(Limits(max_cpu_seconds=0.3)) as decoders:
        data = encode(noise(700, 700), "TIFF", compression="tiff_lzw")
        for _ in range(25):
            decoders.pixels(data, SPEC)
        assert len(decoders._idle) == 1


def test_an_image_over_its_memory_is_an_error_and_the_next_one_is_decoded() -> None:
    """Also when nothing was counted before: this process is told that an image may take a tebibyte."""
    with Decoders(Limits(max_memory_bytes=50 * 2**20)) as decoders:
        decoders.pixels(GOOD, SPEC)
        decoders.limits = Limits(max_memory_bytes=2**40)
        for data in (hostile.webp_of_claims(), hostile.png16(7000, 6)):
            with pytest.raises(ImageError):
                decoders.pixels(data, SPEC)
            assert decoders.pixels(GOOD, SPEC)[0].shape == (24, 24, 3)


def test_work_that_nobody_waits_for_any_more_is_ended() -> None:
    with Decoders(Limits(max_cpu_seconds=60)) as decoders, ThreadPoolExecutor(1) as pool:
        pid = started(decoders)
        gone = threading.Event()
        os.kill(pid, signal.SIGSTOP)
        work = pool.submit(decoders.pixels, GOOD, SPEC, gone.is_set)
        assert not work.done()
        gone.set()
        with pytest.raises(ImageTooLarge, match="was ended"):
            work.result(5)
        assert pid not in children()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_decoder_that_dies_takes_its_image_along_and_nothing_else(number: signal.Signals) -> None:
    with Decoders() as decoders, ThreadPoolExecutor(1) as pool:
        pid = started(decoders)
        os.kill(pid, signal.SIGSTOP)
        work = pool.submit(decoders.pixels, GOOD, SPEC)
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(CorruptImage if number == signal.SIGSEGV else ImageTooLarge):
            work.result(5)
        assert decoders.pixels(GOOD, SPEC)[0].shape == (24, 24, 3)


def test_when_the_process_that_starts_them_dies_another_one_is_started() -> None:
    with Decoders() as decoders:
        pid = started(decoders)
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        nursery = next(int(line.split()[1]) for line in status if line.startswith("PPid:"))
        os.kill(nursery, signal.SIGKILL)
        assert decoders.pixels(GOOD, SPEC)[0].shape == (24, 24, 3)
        with Decoders() as more:
            assert more.pixels(GOOD, SPEC)[0].shape == (24, 24, 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_is_for_the_owner_to_answer(number: signal.Signals) -> None:
    with Decoders() as decoders:
        pid = started(decoders)
        os.kill(pid, number)
        assert decoders.pixels(GOOD, SPEC)[0].shape == (24, 24, 3)
        assert pid in children()


def test_many_threads_get_a_process_each_and_the_right_pixels() -> None:
    files = [encode(noise(40 + index, 60), "TIFF") for index in range(8)]
    wanted = [to_pixels(decode(data, SPEC), SPEC) for data in files]
    with Decoders() as decoders, ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, right in zip(pool.map(lambda data: decoders.pixels(data, SPEC)[0], files), wanted, strict=True):
                np.testing.assert_array_equal(found, right)
        assert 1 <= len(decoders._idle) <= 4


def test_without_descriptors_it_says_so_and_goes_on_when_there_are_some() -> None:
    code = """
import resource, sys
from salver.artifact.bounds.decoders import Decoders
from salver.artifact.errors import DecodingUnavailable
from salver.artifact.manifest import PixelSpec
data, spec = sys.stdin.buffer.read(), PixelSpec(height=8, width=8, resize="stretch")
with Decoders() as decoders:
    decoders.pixels(data, spec)
    held = decoders._idle.pop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4096))
    try:
        decoders.pixels(data, spec)
    except DecodingUnavailable as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
    print(decoders.pixels(data, spec)[0].shape)
    held.close()
"""
    ended = subprocess.run([sys.executable, "-c", code], input=GOOD, capture_output=True, cwd=ROOT, timeout=60)
    assert ended.stdout.decode().splitlines() == [
        "No process for decoding could be started: Too many open files.",
        "(8, 8, 3)",
    ], ended.stderr


def test_an_interrupted_wait_leaves_no_process_at_work() -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    with Decoders() as decoders:
        pid = started(decoders)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(KeyboardInterrupt):
            decoders.pixels(GOOD, SPEC, interrupted)
        assert pid not in children()
        assert decoders.pixels(GOOD, SPEC)[0].shape == (24, 24, 3)


def test_a_file_that_cannot_be_handed_over_is_not_called_broken() -> None:
    code = """
import resource, signal, sys
from salver.artifact.bounds.decoders import Decoders
from salver.artifact.errors import DecodingUnavailable
from salver.artifact.manifest import PixelSpec
data, spec = sys.stdin.buffer.read(), PixelSpec(height=8, width=8, resize="stretch")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Decoders() as decoders:
    decoders.pixels(data, spec)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 10**9))
    try:
        decoders.pixels(data, spec)
    except DecodingUnavailable as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9))
    print(decoders.pixels(data, spec)[0].shape)
"""
    ended = subprocess.run([sys.executable, "-c", code], input=GOOD, capture_output=True, cwd=ROOT, timeout=60)
    assert ended.stdout.decode().splitlines() == [
        "A file cannot be handed to its decoder: this process may write no larger files, nor share as much memory.",
        "(8, 8, 3)",
    ], ended.stderr


def test_all_processes_end_with_their_owner_even_when_it_is_killed() -> None:
    code = """
import sys, time
from salver.artifact.bounds.decoders import Decoders
from salver.artifact.manifest import PixelSpec
decoders = Decoders()
decoders.start(2)
print("started", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        owner.kill()
        # The pipe is closed when the last process that holds it has ended: they have it from their owner.
        began = time.monotonic()
        owner.stdout.read()
        assert time.monotonic() - began < 5


def test_nothing_of_the_current_folder_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for name in ("artifact", "numpy", "PIL", "pydantic", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"open({str(mark)!r}, 'w')\n")
    code = "from salver.artifact.bounds.decoders import Decoders; Decoders().start(1)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert not mark.exists()
