import importlib.util
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from salver.artifact.errors import CorruptImage, ImageTooLarge, UnsupportedImage
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode
from tests.support.images import encode
from tests.support.pictures import noise, orientation, picture, png, png_chunk

SPEC = PixelSpec(height=64, width=64, resize="stretch")
HEIC_HEADER = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08meta"


@pytest.mark.parametrize(
    ("data", "looks_like"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>404 not found</html>", "an HTML page"),
        (b"\xef\xbb\xbf \n<HTML>", "an HTML page"),
        (b'<?xml version="1.0"?><!-- a drawing --><svg xmlns="x"/>', "an SVG drawing"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML document"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(30), "PostScript"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"\xff\x0a\0", "JPEG XL"),
        (b"\0\0\1\0\1\0", "an ICO icon"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"PK\3\4\x14\0", "a zip archive"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a video"),
        (b"BM is also how this sentence begins", "of no known image type"),
        (b"RIFF\0\0\0\0WAVEfmt ", "of no known image type"),
    ],
)
def test_im10_other_files_are_refused_with_what_they_look_like(data: bytes, looks_like: str) -> None:
    with pytest.raises(UnsupportedImage, match=r"not a supported image.*Formats read: JPEG, PNG, GIF, WebP") as refusal:
        decode(data, SPEC)
    assert looks_like in str(refusal.value)


def test_im10_without_the_extra_a_heic_photo_is_refused_with_the_extras_name() -> None:
    if importlib.util.find_spec("pillow_heif"):
        with pytest.raises(CorruptImage, match="HEIC file is truncated or corrupt"):
            decode(HEIC_HEADER, SPEC)
    else:
        with pytest.raises(UnsupportedImage, match=r"not a supported image.*pip install -e '\.\[heic\]'"):
            decode(HEIC_HEADER, SPEC)


@pytest.mark.heic
def test_with_the_extra_a_heic_photo_is_read_upright() -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener()  # for writing only; reading does without
    upright = Image.fromarray(picture()).resize((64, 48))
    data = encode(upright.transpose(Image.Transpose.ROTATE_90), "HEIF", exif=orientation(6).tobytes(), quality=95)
    decoded = np.asarray(decode(data, SPEC))
    assert np.abs(decoded.astype(int) - np.asarray(upright)).mean() < 6
    with pytest.raises(CorruptImage, match="truncated or corrupt"):
        decode(data[: len(data) // 2], SPEC)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_the_content_decides_the_format(name: str) -> None:
    assert decode(encode(Image.fromarray(picture()), name), SPEC).size == (16, 12)


CUT: dict[str, tuple[str, dict[str, object]]] = {
    "baseline JPEG": ("JPEG", {"quality": 90}),
    "progressive JPEG": ("JPEG", {"quality": 90, "progressive": True}),
    "MPO": ("MPO", {}),
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {}),
    "lossless WebP": ("WEBP", {"lossless": True}),
    "GIF": ("GIF", {}),
    "BMP": ("BMP", {}),
    "AVIF": ("AVIF", {"speed": 10}),
    "TIFF": ("TIFF", {}),
    "LZW TIFF": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("lenient", [False, True], ids=["strict", "LOAD_TRUNCATED_IMAGES"])
@pytest.mark.parametrize("kind", CUT)
def test_im08_a_cut_file_is_truncated_or_corrupt(kind: str, lenient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    name, options = CUT[kind]
    data = encode(noise(100, 150), name, **options)
    for percent in (10, 50, 90):
        with pytest.raises(CorruptImage, match="truncated or corrupt"):
            decode(data[: len(data) * percent // 100], SPEC)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encode(Image.new("L", (8, 8)), "JPEG").replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"), "12-bit layers"),
        (encode(Image.new("RGB", (8, 8)), "TIFF").replace(b"\x08\0\x08\0\x08\0", b"\x07\0\x07\0\x07\0"), "pixel mode"),
        (encode(Image.new("RGB", (8, 8)), "BMP").replace(b"\x18\0\0\0\0\0", b"\x17\0\0\0\0\0", 1), "pixel depth"),
    ],
    ids=["12-bit JPEG", "7-bit TIFF", "23-bit BMP"],
)
def test_a_sound_file_of_a_kind_that_is_not_read_is_not_called_corrupt(data: bytes, kind: str) -> None:
    with pytest.raises(UnsupportedImage, match=rf"not a supported image \(.*{kind}.*save it as PNG or JPEG"):
        decode(data, SPEC)


def test_a_text_that_no_pixel_depends_on_is_not_read_however_much_it_unpacks_to() -> None:
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000)))
    assert decode(png((8, 8), 8, 0, bytes(9 * 8), text), SPEC).size == (8, 8)


def test_a_gif_frame_larger_than_its_screen_counts_with_its_own_size() -> None:
    data = bytearray(encode(Image.new("P", (16, 12)), "GIF"))
    frame = data.index(b",\0\0\0\0\x10\0\x0c\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 60000, 60000)
    with pytest.raises(ImageTooLarge, match="too many pixels"):
        decode(bytes(data), SPEC)
