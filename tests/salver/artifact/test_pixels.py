import contextlib
import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from salver.artifact.errors import CorruptImage, ImageError, ImageTooLarge
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import Limits, decode, to_pixels
from tests.support.images import encode
from tests.support.pictures import (
    Pixels,
    animation,
    noise,
    orientation,
    patch_tiff,
    picture,
    png,
    png_chunk,
    srgb_profile,
)

ROOT = Path(__file__).parents[3]
AS_IT_IS = PixelSpec(height=12, width=16, resize="stretch")
CROP = PixelSpec(height=224, width=224, shorter_side=256)
TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture has to be turned so that a viewer that obeys the tag turns it back."""


def read(data: bytes, spec: PixelSpec = AS_IT_IS) -> Pixels:
    return to_pixels(decode(data, spec), spec)


def halves(width: int = 60, height: int = 40) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


def smooth(width: int, height: int) -> Image.Image:
    return Image.fromarray(picture()).resize((width, height), Image.Resampling.BICUBIC)


def mean_difference(first: Pixels, second: Pixels) -> float:
    return float(np.abs(first.astype(int) - second).mean())


# Orientation


def test_im01_a_rotated_photo_gives_the_same_pixels_as_the_upright_one() -> None:
    spec = PixelSpec(height=40, width=60, resize="stretch")
    upright = encode(halves(), "JPEG")
    rotated = encode(halves().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=orientation(6))
    assert mean_difference(read(upright, spec), read(rotated, spec)) < 2


@pytest.mark.parametrize("value", TURNED)
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "JPEG", "MPO", "AVIF"])
def test_every_exif_orientation_is_undone_once(name: str, value: int) -> None:
    turn = TURNED[value]
    image = Image.fromarray(picture())
    turned = image if turn is None else image.transpose(turn)
    options: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 98, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 98, "speed": 10},
    }
    data = encode(turned, name, exif=orientation(value), **options.get(name, {}))
    decoded = decode(data, AS_IT_IS)
    assert decoded.size == (16, 12)
    assert mean_difference(np.asarray(decoded), picture()) < 4
    assert decoded.getexif().get(274, 1) == 1


def test_orientation_turns_the_sides_that_choose_the_jpegs_scale() -> None:
    """Lying, 800 x 400 covers 100 x 400 at 1/1 only; upright, 400 x 800 does so at 1/2."""
    spec = PixelSpec(height=400, width=100, resize="stretch")
    assert decode(encode(smooth(800, 400), "JPEG"), spec).size == (800, 400)
    assert decode(encode(smooth(800, 400), "JPEG", exif=orientation(6)), spec).size == (200, 400)


def test_the_orientation_of_a_png_is_found_after_its_pixels() -> None:
    data = encode(halves(16, 12), "PNG")
    end = data.index(b"IEND") - 4
    late = data[:end] + png_chunk(b"eXIf", orientation(3).tobytes()[6:]) + data[end:]
    assert (read(late)[0, 0] == (0, 0, 255)).all()


def test_xmp_gives_the_orientation_where_exif_has_none() -> None:
    data = encode(halves(16, 12), "JPEG", xmp=b'<x tiff:Orientation="3"/>')
    assert read(data)[6, 1, 2] > 200


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"", b"II", b"nonsense", b"II*\0\xff\xff\xff\xff", orientation(99).tobytes()[6:], bytes(40)]
)
def test_broken_exif_is_ignored(name: str, exif: bytes) -> None:
    assert read(encode(halves(16, 12), name, exif=b"Exif\0\0" + exif))[6, 1, 0] > 200


# First frame, limits


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "MPO", "TIFF", "AVIF"])
def test_im07_the_first_frame_is_read(name: str) -> None:
    assert (np.abs(read(animation(name)).astype(int) - (255, 0, 0)) <= 6).all()


def test_im07_an_mpo_obeys_its_exif() -> None:
    turned = halves(16, 12).transpose(Image.Transpose.ROTATE_180)
    data = encode(turned, "MPO", save_all=True, append_images=[turned], exif=orientation(3))
    assert read(data)[6, 1, 0] > 200


def test_more_bytes_than_the_limit_are_refused_before_anything_is_read() -> None:
    with pytest.raises(ImageTooLarge, match=r"21 bytes; the limit is 20 bytes"):
        decode(bytes(21), AS_IT_IS, Limits(max_bytes=20))


BOMBS = """
import sys
from pathlib import Path
from salver.artifact.errors import ImageTooLarge
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode

def peak_mib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

spec = PixelSpec(height=224, width=224, shorter_side=256)
for path in map(Path, sys.argv[1:]):
    before = peak_mib()
    try:
        decode(path.read_bytes(), spec)
    except ImageTooLarge as error:
        print(path.name, peak_mib() - before, error, sep=";")
"""


def bombs() -> dict[str, bytes]:
    """Files of 16 x 12 pixels whose headers say 12000 x 12000."""
    side = struct.pack("<H", 12000)
    image = Image.fromarray(picture())
    gif, bmp = encode(image, "GIF"), encode(image, "BMP")
    gif = gif[:6] + side * 2 + gif[10:]
    bmp = bmp[:18] + struct.pack("<ii", 12000, 12000) + bmp[26:]
    webp = encode(image, "WEBP", lossless=True)
    webp = webp[:21] + struct.pack("<I", 11999 | 11999 << 14) + webp[25:]
    tiff = patch_tiff(patch_tiff(encode(image, "TIFF"), 256, 12000), 257, 12000)
    jpeg = encode(image, "JPEG").replace(b"\0\x0c\0\x10\3", side[::-1] * 2 + b"\3")
    avif = encode(image, "AVIF").replace(struct.pack(">II", 16, 12), struct.pack(">II", 12000, 12000), 1)
    large = {"png": png((12000, 12000), 8, 2, b""), "gif": gif, "bmp": bmp, "webp": webp, "tiff": tiff, "jpeg": jpeg}
    return {**large, "avif": avif}


def run_python(code: str, *arguments: str, flags: tuple[str, ...] = ()) -> str:
    """What it prints; nothing may come on stderr."""
    command = [sys.executable, *flags, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_im11_a_bomb_is_refused_by_its_header_and_costs_no_memory(tmp_path: Path) -> None:
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
    lines = run_python(BOMBS, *(str(tmp_path / name) for name in bombs())).splitlines()
    assert [line.split(";")[0] for line in lines] == list(bombs())
    for line in lines:
        assert int(line.split(";")[1]) < 10
        assert "too many pixels: 12,000 x 12,000 = 144,000,000; the limit is 50,000,000" in line


@pytest.mark.parametrize("side", [9500, 13400, 30000])
def test_im11_too_many_pixels_names_the_limit(side: int) -> None:
    data = png((side, side), 1, 0, bytes(1000))
    with pytest.raises(ImageTooLarge, match=r"too many pixels: .* the limit is 50,000,000"):
        decode(data, AS_IT_IS)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "GIF", "WEBP"])
def test_pillows_own_warning_about_size_plays_no_part(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(encode(Image.fromarray(picture()), name), AS_IT_IS, Limits(max_pixels=192)).size == (16, 12)


# DCT scaling


@pytest.mark.parametrize(
    ("size", "spec", "decoded"),
    [
        ((2048, 2048), CROP, (256, 256)),
        ((2047, 2047), CROP, (512, 512)),
        ((1403, 512), CROP, (702, 256)),
        ((512, 511), CROP, (512, 511)),
        ((200, 100), CROP, (200, 100)),
        ((1792, 500), PixelSpec(height=224, width=224, resize="pad"), (224, 63)),
        ((1792, 500), PixelSpec(height=224, width=224, resize="stretch"), (896, 250)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_covers_the_target(
    size: tuple[int, int], spec: PixelSpec, decoded: tuple[int, int]
) -> None:
    assert decode(encode(Image.new("RGB", size), "JPEG"), spec).size == decoded


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_the_scaled_jpeg_looks_like_the_full_one(mode: str, options: dict[str, bool]) -> None:
    image = smooth(1200, 900)
    data = encode(image.convert(mode), "JPEG", quality=95, **options)
    spec = PixelSpec(height=96, width=96, shorter_side=110)
    assert decode(data, spec).size == (150, 113)
    full = to_pixels(Image.open(io.BytesIO(data)).convert("RGB"), spec)
    assert mean_difference(read(data, spec), full) < 1.5


# Resizing


def test_crop_cuts_the_centre_out_of_the_scaled_image() -> None:
    """The same as scaling the whole image first and cutting then, within rounding."""
    image = smooth(150, 100)
    spec = PixelSpec(height=40, width=30, shorter_side=50)
    whole = np.asarray(image.resize((75, 50), Image.Resampling.BILINEAR))
    cut = whole[5:45, 22:52].astype(int) + whole[5:45, 23:53]  # the box begins at 22.5
    assert mean_difference(to_pixels(image, spec), cut / 2) < 0.6


def test_pad_fits_the_image_inside_and_centres_it() -> None:
    pixels = to_pixels(
        Image.new("RGB", (100, 25), "red"), PixelSpec(height=20, width=40, resize="pad", background=(1, 2, 3))
    )
    assert (pixels[5:15] == (255, 0, 0)).all()
    assert (pixels[:5] == (1, 2, 3)).all()
    assert (pixels[15:] == (1, 2, 3)).all()


def test_stretch_fills_both_sides() -> None:
    assert to_pixels(halves(), PixelSpec(height=10, width=8, resize="stretch"))[:, 0].tolist() == [[255, 0, 0]] * 10


@pytest.mark.parametrize(
    "spec",
    [
        AS_IT_IS,
        PixelSpec(height=12, width=16, resize="pad"),
        PixelSpec(height=16, width=16, resize="pad"),
        PixelSpec(height=5, width=7, shorter_side=12),
    ],
)
def test_nothing_is_resampled_where_nothing_needs_resizing(spec: PixelSpec) -> None:
    pixels = to_pixels(Image.fromarray(picture()), spec)
    if spec.shorter_side:
        assert (pixels == picture()[3:8, 4:11]).all()
    else:
        assert (pixels[(spec.height - 12) // 2 :][:12] == picture()).all()


def test_pixels_are_a_writable_contiguous_array() -> None:
    pixels = to_pixels(halves(), PixelSpec(height=10, width=8, resize="stretch", interpolation="lanczos"))
    assert pixels.shape == (10, 8, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


def test_to_pixels_refuses_an_image_that_did_not_come_from_decode() -> None:
    with pytest.raises(ValueError, match="mode L"):
        to_pixels(Image.new("L", (8, 8)), AS_IT_IS)


EXTREME = [(1, 1), (1, 2000), (2000, 1), (3, 900), (65000, 1), (1, 65000), (7, 5)]


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", EXTREME)
@pytest.mark.parametrize("name", ["PNG", "JPEG"])
def test_im12_images_of_any_shape_give_pixels(name: str, size: tuple[int, int], resize: str) -> None:
    spec = PixelSpec.model_validate(
        {"height": 224, "width": 160, "resize": resize, "shorter_side": 256 if resize == "crop" else None}
    )
    pixels = read(
        encode(Image.new("RGB", size, (255, 0, 0)), name, **({"subsampling": 0} if name == "JPEG" else {})), spec
    )
    assert pixels.shape == (224, 160, 3)
    assert (np.abs(pixels[111, 79].astype(int) - (255, 0, 0)) <= 4).all()


SHAPES = """
import resource
from PIL import Image
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import to_pixels

specs = [PixelSpec(height=224, width=224, shorter_side=256)]
specs += [PixelSpec(height=224, width=224, resize=resize) for resize in ("pad", "stretch")]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for size in [(1, 2000), (2000, 1), (3, 900), (65000, 1), (1, 65000)]:
    for spec in specs:
        to_pixels(Image.new("RGB", size), spec)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_im12_extreme_shapes_need_no_giant_intermediate() -> None:
    assert int(run_python(SHAPES)) < 100


# Warnings, threads, damage

ODD_METADATA = """
import sys
from pathlib import Path
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode

for path in sys.argv[1:]:
    decode(Path(path).read_bytes(), PixelSpec(height=12, width=16, resize="stretch"))
"""


@pytest.mark.parametrize("flags", [(), ("-W", "error")], ids=["default filters", "-W error"])
def test_pillows_warnings_neither_reach_stderr_nor_become_errors(flags: tuple[str, ...], tmp_path: Path) -> None:
    image = Image.fromarray(picture())
    odd = {
        "exif.jpg": encode(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0"),
        "palette.png": encode(image.convert("P"), "PNG", transparency=bytes(range(200))),
        "apng.png": png((16, 12), 8, 0, bytes(17 * 12), png_chunk(b"acTL", bytes(8))),
    }
    for name, data in odd.items():
        (tmp_path / name).write_bytes(data)
    run_python(ODD_METADATA, *(str(tmp_path / name) for name in odd), flags=flags)


def test_many_threads_give_the_serial_result() -> None:
    image, profile = smooth(300, 200), srgb_profile().replace("sRGB".encode("utf-16-be"), "rgbs".encode("utf-16-be"))
    files = [encode(image, name, icc_profile=profile) for name in ("JPEG", "PNG", "WEBP", "TIFF")]
    files += [encode(image.rotate(90 * turn), "JPEG", exif=orientation(turn + 5)) for turn in range(4)]
    files += [
        encode(image.convert("CMYK"), "JPEG"),
        animation("GIF"),
        encode(image.convert("P"), "PNG", transparency=b"\0\7"),
    ]
    spec = PixelSpec(height=64, width=64, shorter_side=80)
    serial = [read(data, spec) for data in files]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda data: read(data, spec), files * 10))
    for index, pixels in enumerate(parallel):
        assert (pixels == serial[index % len(files)]).all()


SOUND = [
    *(encode(Image.fromarray(picture()), name) for name in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")),
    *(animation(name) for name in ("MPO", "GIF", "PNG", "WEBP", "TIFF")),
    encode(Image.fromarray(picture()), "TIFF", compression="tiff_lzw", exif=orientation(6)),
    encode(Image.fromarray(picture()), "JPEG", exif=orientation(6), icc_profile=srgb_profile()),
    encode(Image.fromarray(picture()).convert("P"), "PNG", transparency=bytes(range(200)), exif=orientation(5)),
    encode(noise(12, 16).convert("CMYK"), "JPEG", progressive=True),
]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        what = draw(st.sampled_from(["change", "change", "delete", "insert", "cut"]))
        if what == "change":
            data[place] = draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
        elif what == "delete":
            del data[place : place + draw(st.integers(1, 16))]
        elif what == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=8))
        else:
            del data[place + 1 :]
        if not data:
            return b""
    return bytes(data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(damaged_files())
def test_whatever_the_bytes_decode_raises_nothing_but_image_errors(data: bytes) -> None:
    with contextlib.suppress(ImageError):
        image = decode(data, AS_IT_IS, Limits(max_pixels=1_000_000))
        assert to_pixels(image, AS_IT_IS).shape == (12, 16, 3)


@settings(max_examples=100, deadline=None, database=None)
@given(st.sampled_from(SOUND[:7]), st.floats(0.3, 0.8))
def test_im08_a_cut_never_becomes_a_guess(data: bytes, share: float) -> None:
    with pytest.raises(CorruptImage):
        decode(data[: int(len(data) * share)], AS_IT_IS)


@pytest.mark.parametrize(("kind", "size"), [(2, 1), (7, 1), (3, 2)], ids=["text", "bytes", "numbers"])
def test_an_error_does_not_repeat_what_the_file_held(kind: int, size: int) -> None:
    """A TIFF's kind of compression, a number, made what the reader would quote; found by fuzzing."""
    tiff, secret = encode(noise(16, 12), "TIFF"), b"a place and a date " * 40 + b"\0"
    at = tiff.index(struct.pack("<HHI", 259, 3, 1))
    entry = struct.pack("<HHII", 259, kind, len(secret) // size, len(tiff))
    with pytest.raises(CorruptImage, match=r"corrupt \(a part of it cannot be read\)\.$"):
        decode(tiff[:at] + entry + tiff[at + 12 :] + secret, AS_IT_IS)
