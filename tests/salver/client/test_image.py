import base64
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageDraw, ImageStat

from salver.client.image import Item, Source, item
from salver.client.result import ScoreError


def drawn(mode: str = "RGB", size: tuple[int, int] = (200, 100)) -> Image.Image:
    """White, with a dark left half."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 2 - 1, size[1]), fill="black")
    return image.convert(mode)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def sent(source: Source, resize: tuple[int, int] | None = None) -> bytes:
    result = item(source, resize)
    assert isinstance(result, Item)
    assert result.field == "image_in_base64"
    return base64.b64decode(result.text)


def mean(image: Image.Image) -> float:
    return ImageStat.Stat(image).mean[0]


def test_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(b"\x00\xffany bytes")
    assert sent(path) == sent(str(path)) == sent(path.read_bytes()) == b"\x00\xffany bytes"


def test_a_url_is_sent_as_itself() -> None:
    assert item("https://a.example/x.jpg", (10, 10)) == Item("image_url", "https://a.example/x.jpg")


def test_a_pil_image_is_sent_without_loss() -> None:
    image = Image.linear_gradient("L").convert("RGB")
    assert Image.open(BytesIO(sent(image))).tobytes() == image.tobytes()


def test_a_pil_image_that_png_cannot_hold_is_an_error_that_says_so() -> None:
    result = item(drawn("CMYK"))
    assert isinstance(result, ScoreError)
    assert "CMYK" in result.detail


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    assert item(tmp_path / "none.jpg") == ScoreError(
        "urn:salver:unreadable-file", "The image cannot be read", f"{tmp_path / 'none.jpg'}: No such file or directory."
    )


@pytest.mark.parametrize(("resize", "size"), [((50, 50), (100, 50)), ((10, 50), (50, 25)), ((99, 10), (198, 99))])
def test_a_larger_image_is_shrunk_to_the_smallest_size_that_covers(
    resize: tuple[int, int], size: tuple[int, int]
) -> None:
    smaller = Image.open(BytesIO(sent(saved(drawn(), "PNG"), resize)))
    assert (smaller.format, smaller.size) == ("JPEG", size)


@pytest.mark.parametrize("resize", [(100, 100), (300, 300), (50, 200)])
def test_an_image_is_never_enlarged(resize: tuple[int, int]) -> None:
    data = saved(drawn(), "JPEG")
    assert sent(data, resize) == data


@pytest.mark.parametrize("as_file", [True, False])
def test_a_rotated_photo_is_shrunk_upright(as_file: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise: the dark left half is the top
    data = saved(drawn(), "JPEG", exif=exif)
    with Image.open(BytesIO(data)) as image:
        smaller = Image.open(BytesIO(sent(data if as_file else image, (50, 25))))
    assert smaller.size == (25, 50)
    assert mean(smaller.crop((0, 0, 25, 20))) < 50
    assert mean(smaller.crop((0, 30, 25, 50))) > 200
    assert 0x0112 not in smaller.getexif()


def test_an_image_with_transparency_is_shrunk_to_a_png_that_keeps_it() -> None:
    image = drawn("RGBA")
    image.putalpha(0)
    smaller = Image.open(BytesIO(sent(saved(image, "PNG"), (10, 10))))
    assert (smaller.format, smaller.mode, smaller.size) == ("PNG", "RGBA", (20, 10))
    assert mean(smaller.getchannel("A")) == 0


def test_a_colour_profile_is_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    smaller = Image.open(BytesIO(sent(saved(drawn(), "JPEG", icc_profile=profile), (10, 10))))
    assert smaller.info["icc_profile"] == profile


@pytest.mark.parametrize(("mode", "format"), [("CMYK", "JPEG"), ("I;16", "PNG"), ("1", "PNG")])
def test_an_image_of_another_kind_is_sent_as_it_is(mode: str, format: str) -> None:
    data = saved(Image.new(mode, (200, 100)), format)
    assert sent(data, (10, 10)) == data


def test_what_is_no_image_is_left_to_the_service() -> None:
    truncated = saved(drawn(), "PNG")[:60]
    assert sent(b"text", (10, 10)) == b"text"
    assert sent(truncated, (10, 10)) == truncated
