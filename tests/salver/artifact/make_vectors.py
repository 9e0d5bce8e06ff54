"""Write `vectors/`: small files, `vectors.json`, and the table in docs/input-contract.md.

Run it from the repository's root: `python -m tests.salver.artifact.make_vectors`. What is expected comes from the
picture that was encoded, by plain arithmetic; `salver.artifact.pixels` is not asked.
"""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
from PIL import Image

from salver.artifact.manifest import PixelSpec
from tests.support.images import encode
from tests.support.pictures import (
    HEIGHT,
    WIDTH,
    Pixels,
    animation,
    bitmap,
    hidden_png,
    orientation,
    patch_tiff,
    picture,
    placed_gif,
    png,
    png_chunk,
    png_rows,
    swapped_profile,
    ycck,
)

VECTORS: Final = Path(__file__).parent / "vectors"
CONTRACT: Final = Path(__file__).parents[3] / "docs" / "input-contract.md"
BEGIN: Final = "<!-- vectors: written by tests/salver/artifact/make_vectors.py -->\n"
END: Final = "<!-- end of vectors -->"
AS_IT_IS: Final = PixelSpec(height=HEIGHT, width=WIDTH, resize="stretch")
LARGE: Final = 4


class Vector(TypedDict):
    file: str
    shows: str
    spec: dict[str, object]
    sha256: str | None
    """Of the pixels' bytes, row by row, RGB: given where every correct reader agrees to the bit."""
    pixels: str | None
    """base64 of the same bytes: given where codecs may differ, with the largest difference allowed."""
    tolerance: int | None
    error: str | None


@dataclass(frozen=True)
class Case:
    file: str
    shows: str
    data: bytes
    expected: Pixels | str
    """The pixels, or the name of the error."""
    tolerance: int = 0
    spec: PixelSpec = AS_IT_IS

    def vector(self) -> Vector:
        raw = None if isinstance(self.expected, str) else self.expected.astype(np.uint8).tobytes()
        exact = raw is not None and not self.tolerance
        return Vector(
            file=self.file,
            shows=self.shows,
            spec=self.spec.model_dump(exclude_none=True),
            sha256=hashlib.sha256(raw).hexdigest() if raw is not None and exact else None,
            pixels=base64.b64encode(raw).decode() if raw is not None and not exact else None,
            tolerance=self.tolerance or None,
            error=self.expected if isinstance(self.expected, str) else None,
        )


def _rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=-1)


def _over(pixels: Pixels, alpha: Pixels, background: tuple[int, int, int]) -> Pixels:
    share = alpha[..., None] / 255
    return np.round(pixels * share + np.array(background) * (1 - share)).astype(np.uint8)


def exact_cases() -> list[Case]:
    """Lossless files, read without resampling."""
    pixels, image = picture(), Image.fromarray(picture())
    grey = pixels[..., 1]
    bilevel = (pixels[..., 0] > 127).astype(np.uint8) * 255
    alpha = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    red = np.zeros_like(pixels)
    red[..., 0] = 255
    indexed = Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH))
    indexed.putpalette(pixels.tobytes())
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 343
    deep_image = Image.fromarray(deep)
    eight = np.round(deep * 255.0 / 65535).astype(np.uint8)
    unset = np.dstack([pixels[..., ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)])
    hidden = hidden_png(Image.new("RGB", (WIDTH, HEIGHT), "lime"), image, (0, 0))
    small = np.full_like(pixels, 255)
    small[3:9, 4:12] = (200, 40, 30)
    return [
        Case("rgb.png", "RGB as it is", encode(image, "PNG"), pixels),
        Case("grey.png", "grey becomes three equal channels", encode(Image.fromarray(grey), "PNG"), _rgb(grey)),
        Case("bilevel.png", "1 bit a pixel", encode(Image.fromarray(bilevel).convert("1"), "PNG"), _rgb(bilevel)),
        Case(
            "rgba.png",
            "alpha over the background",
            encode(Image.fromarray(np.dstack([pixels, alpha])), "PNG"),
            _over(pixels, alpha, (255, 255, 255)),
        ),
        Case(
            "rgba-on-blue.png",
            "a background colour of the model's own",
            encode(Image.fromarray(np.dstack([pixels, alpha])), "PNG"),
            _over(pixels, alpha, (0, 40, 200)),
            spec=AS_IT_IS.model_copy(update={"background": (0, 40, 200)}),
        ),
        Case(
            "grey-alpha.png",
            "grey with alpha",
            encode(Image.fromarray(np.dstack([grey, alpha])), "PNG"),
            _over(_rgb(grey), alpha, (255, 255, 255)),
        ),
        Case(
            "palette-alpha.png",
            "a palette with an alpha for each entry (tRNS)",
            encode(indexed, "PNG", transparency=alpha.tobytes()),
            _over(pixels, alpha, (255, 255, 255)),
        ),
        Case("grey16.png", "16-bit grey scaled by 65535", encode(deep_image, "PNG"), _rgb(eight)),
        Case(
            "grey16-key.png",
            "16-bit grey, one value transparent (tRNS)",
            png((WIDTH, HEIGHT), 16, 0, png_rows(deep), png_chunk(b"tRNS", struct.pack(">H", 343))),
            _rgb(np.where(deep == 343, 255, eight)),
        ),
        Case(
            "rgb16.png",
            "16-bit RGB: the high byte",
            png((WIDTH, HEIGHT), 16, 2, png_rows(pixels.astype(np.uint16) * 256 + 200)),
            pixels,
        ),
        Case(
            "grey2-key.png",
            "2-bit grey, value 1 transparent (tRNS)",
            png((WIDTH, HEIGHT), 2, 0, b"\0\x1b\x1b\x1b\x1b" * HEIGHT, png_chunk(b"tRNS", b"\0\1")),
            _rgb(np.tile(np.array([0, 255, 170, 255], np.uint8), (HEIGHT, WIDTH // 4))),
        ),
        Case(
            "grey16-big-endian.tif",
            "16-bit grey, big-endian",
            encode(Image.frombytes("I;16B", (WIDTH, HEIGHT), deep.astype(">u2").tobytes()), "TIFF"),
            _rgb(eight),
        ),
        Case(
            "grey16-white-is-zero.tif",
            "16-bit grey stored as a negative (photometric 0)",
            patch_tiff(encode(deep_image, "TIFF"), 262, 0),
            _rgb(255 - eight),
        ),
        Case(
            "orientation-6.png",
            "EXIF orientation in a PNG",
            encode(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=orientation(6)),
            pixels,
        ),
        Case(
            "orientation-6.tif",
            "orientation tag of a TIFF, applied once",
            encode(image.transpose(Image.Transpose.ROTATE_90), "TIFF", tiffinfo={274: 6}, compression="tiff_lzw"),
            pixels,
        ),
        Case("cmyk.tif", "CMYK without a profile", encode(image.convert("CMYK"), "TIFF"), pixels),
        Case("animation.gif", "first frame of a GIF (red)", animation("GIF"), red),
        Case("animation.png", "first frame of an APNG (red)", animation("PNG"), red),
        Case("pages.tif", "first page of a TIFF (red)", animation("TIFF"), red),
        Case("rgb.bmp", "BMP", encode(image, "BMP"), pixels),
        Case("unset-alpha.bmp", "an alpha that is 0 everywhere is none", bitmap(108, unset), pixels),
        Case("small-frame.gif", "background around a frame of 8 x 6", placed_gif((16, 12), (8, 6), (4, 3)), small),
        Case("hidden.png", "an APNG's default picture that is no part of its animation", hidden, pixels),
        Case("lossless.webp", "WebP, lossless", encode(image, "WEBP", lossless=True), pixels),
        Case(
            "crop.png",
            "crop: the middle 12 columns",
            encode(image, "PNG"),
            pixels[:, 2:14],
            spec=PixelSpec(height=HEIGHT, width=HEIGHT, resize="crop", shorter_side=HEIGHT),
        ),
        Case(
            "pad.png",
            "pad: two rows of background above and below",
            encode(image, "PNG"),
            np.pad(pixels, ((2, 2), (0, 0), (0, 0)), constant_values=255),
            spec=PixelSpec(height=WIDTH, width=WIDTH, resize="pad"),
        ),
    ]


def tolerant_cases() -> list[Case]:
    """Lossy files, profiles and resampling: right to within a few levels."""
    pixels, image = picture(), Image.fromarray(picture())
    best = {"quality": 98, "subsampling": 0}
    turned = image.transpose(Image.Transpose.ROTATE_90)
    large = image.resize((WIDTH * LARGE, HEIGHT * LARGE), Image.Resampling.NEAREST)
    red = np.zeros_like(pixels)
    red[..., 0] = 255
    profile = swapped_profile()
    return [
        Case("rgb.jpg", "JPEG", encode(image, "JPEG", **best), pixels, 6),
        Case("progressive.jpg", "progressive JPEG", encode(image, "JPEG", progressive=True, **best), pixels, 6),
        Case("grey.jpg", "grey JPEG", encode(Image.fromarray(pixels[..., 1]), "JPEG", quality=98), _grey(pixels), 6),
        Case("orientation-6.jpg", "EXIF orientation", encode(turned, "JPEG", exif=orientation(6), **best), pixels, 6),
        Case("cmyk.jpg", "CMYK JPEG, Adobe transform 0", encode(image.convert("CMYK"), "JPEG", **best), pixels, 6),
        Case("ycck.jpg", "CMYK JPEG, Adobe transform 2 (YCCK)", ycck(pixels), pixels, 8),
        Case("two-pictures.jpg", "first picture of an MPO (red)", animation("MPO"), red, 6),
        Case("large.jpg", "a JPEG four times as large", encode(large, "JPEG", **best), pixels, 8),
        Case("lossy.webp", "WebP, lossy", encode(image, "WEBP", quality=95), pixels, 16),
        Case("lossy.avif", "AVIF", encode(image, "AVIF", quality=95, subsampling="4:4:4"), pixels, 12),
        Case(
            "profile.png",
            "embedded RGB profile whose red and blue are swapped",
            encode(image, "PNG", icc_profile=profile),
            np.ascontiguousarray(pixels[..., ::-1]),
            3,
        ),
        Case(
            "profile-of-other-kind.png",
            "an RGB profile in a grey file is ignored",
            encode(Image.fromarray(pixels[..., 1]), "PNG", icc_profile=profile),
            _grey(pixels),
            1,
        ),
    ]


def _grey(pixels: Pixels) -> Pixels:
    return _rgb(pixels[..., 1])


def refused_cases() -> list[Case]:
    noisy = encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)), "JPEG")
    huge = png((60000, 60000), 1, 0, b"")
    return [
        Case("truncated.jpg", "cut in the middle", noisy[: len(noisy) // 2], "CorruptImage"),
        Case("too-many-pixels.png", "60000 x 60000 in 70 bytes", huge, "ImageTooLarge"),
        Case("float.tif", "float pixels", encode(Image.new("F", (WIDTH, HEIGHT), 0.5), "TIFF"), "UnsupportedImage"),
        Case("empty.jpg", "no bytes", b"", "UnsupportedImage"),
        Case("page.jpg", "an HTML page", b"<!DOCTYPE html><title>404</title>", "UnsupportedImage"),
        Case("drawing.svg", "SVG", b'<?xml version="1.0"?><svg width="9" height="9"/>', "UnsupportedImage"),
        Case("document.pdf", "PDF", b"%PDF-1.7\n%%EOF\n", "UnsupportedImage"),
        Case("drawing.eps", "EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "UnsupportedImage"),
    ]


def load() -> list[Vector]:
    vectors: list[Vector] = json.loads((VECTORS / "vectors.json").read_text())
    return vectors


def table(vectors: list[Vector]) -> str:
    rows = ["| file | shows | spec | right outcome |", "|---|---|---|---|"]
    rows += [f"| `{v['file']}` | {v['shows']} | {_spec_text(v['spec'])} | {_outcome(v)} |" for v in vectors]
    return "\n".join(rows) + "\n"


def _spec_text(spec: dict[str, object]) -> str:
    text = f"{spec['resize']} {spec['height']} x {spec['width']}"
    if spec["background"] not in ((255, 255, 255), [255, 255, 255]):
        text += f" on {spec['background']}"
    return text


def _outcome(vector: Vector) -> str:
    if vector["error"]:
        return f"refused: {vector['error']}"
    if vector["sha256"]:
        return f"sha256 `{vector['sha256'][:16]}…`"
    return f"`pixels` ± {vector['tolerance']}"


def main() -> None:
    cases = exact_cases() + tolerant_cases() + refused_cases()
    VECTORS.mkdir(exist_ok=True)
    for case in cases:
        (VECTORS / case.file).write_bytes(case.data)
    vectors = [case.vector() for case in cases]
    (VECTORS / "vectors.json").write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")
    head, rest = CONTRACT.read_text().split(BEGIN)
    CONTRACT.write_text(head + BEGIN + table(load()) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
