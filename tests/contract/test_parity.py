"""The first promise: the same file bytes get the same answer in training, in the file and live."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import ExifTags, Image, ImageCms

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import Golden, Manifest
from salver.artifact.pixels import decode, to_pixels
from service.scoring.model import load_model
from tests.support.images import encode, picture
from tests.support.live import running_service
from training.dataset.dataset import Dataset
from training.dataset.gather.sample.render import LABELS, render
from training.evaluation.evaluate import evaluate
from training.report.report import metrics_of
from training.run.classifier import Classifier
from training.run.folder import RunResult

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.server]

TOLERANCE = 1e-4


def turned(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encode(image, "JPEG", quality=90, exif=exif)


def deep(image: Image.Image) -> bytes:
    grey = np.asarray(image.convert("L"), dtype=np.uint16)
    return encode(Image.fromarray(grey * 257), "PNG")


def with_profile(image: Image.Image) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    lab = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), profile, outputMode="LAB")
    assert lab is not None
    return encode(lab, "TIFF")


def transparent(image: Image.Image) -> Image.Image:
    see_through = image.convert("RGBA")
    see_through.putalpha(image.convert("L"))
    return see_through


def frames(image: Image.Image, form: str) -> bytes:
    return encode(image, form, save_all=True, append_images=[picture(*image.size, seed=99)])


def kinds() -> dict[str, bytes]:
    """Twenty files of different kinds: the sample, phone photos, odd colours, depths, sizes and formats."""
    cup, bowl, plate, fork = (render(label, 100) for label in ("cup", "bowl", "plate", "cutlery"))
    return {
        "sample-cup.jpg": encode(cup, "JPEG", quality=90),
        "sample-fork.png": encode(fork),
        "phone-lying.jpg": turned(cup.resize((1600, 1200)), 6),
        "phone-upside-down.jpg": turned(bowl.resize((1200, 1600)), 3),
        "phone-mirrored.jpg": turned(plate.resize((900, 700)), 5),
        "cmyk.jpg": encode(cup.convert("CMYK"), "JPEG"),
        "cmyk.tif": encode(bowl.convert("CMYK"), "TIFF"),
        "rgba.png": encode(transparent(plate)),
        "grey-alpha.png": encode(transparent(fork).convert("LA")),
        "palette.png": encode(cup.quantize(32)),
        "palette.gif": encode(bowl.quantize(64), "GIF"),
        "16-bit.png": deep(plate),
        "1-bit.png": encode(cup.convert("1")),
        "grey.jpg": encode(fork.convert("L"), "JPEG"),
        "progressive.jpg": encode(bowl.resize((2000, 1500)), "JPEG", progressive=True),
        "lab.tif": with_profile(plate),
        "photo.webp": encode(fork, "WEBP"),
        "animation.png": frames(cup, "PNG"),
        "narrow.png": encode(picture(37, 501)),
        "one-pixel.png": encode(picture(1, 1)),
    }


@pytest.fixture(scope="module")
def folder(trained_run: RunResult) -> Path:
    """The run's, with the model file; the kinds of files go beside it."""
    return trained_run.out


@pytest.fixture(scope="module")
def classifier(trained_run: RunResult) -> Classifier:
    return trained_run.classifier


@pytest.fixture(scope="module")
def trained(folder: Path, classifier: Classifier) -> list[dict[str, float]]:
    """What training's evaluation gives for each file: logits by label."""
    for name, data in kinds().items():
        (folder / "kinds" / LABELS[0]).mkdir(parents=True, exist_ok=True)
        (folder / "kinds" / LABELS[0] / name).write_bytes(data)
    for label in LABELS[1:]:
        (folder / "kinds" / label).mkdir()
        (folder / "kinds" / label / "plain.png").write_bytes(encode(picture(64, 64)))
    dataset = Dataset.from_dir(folder / "kinds")
    logits = evaluate(classifier, dataset).logits
    by_name = {
        image.path.name: dict(zip(classifier.labels, row.tolist(), strict=True))
        for image, row in zip(dataset.images, logits, strict=True)
    }
    return [by_name[name] for name in kinds()]


def live(client: httpx.Client) -> list[dict[str, float]]:
    """What the service answers for each file, one by one and in a list: logits by label."""
    labels = client.get("/model").json()["labels"]
    items = [{"image_in_base64": base64.b64encode(data).decode()} for data in kinds().values()]
    listed = client.post("/score", json=items).json()
    alone = [client.post("/score", json=[item]).json()[0] for item in items]
    assert [one["label"] for one in listed] == [one["label"] for one in alone]
    np.testing.assert_allclose([one["scores"] for one in listed], [one["scores"] for one in alone], atol=1e-5)
    return [dict(zip(labels, one["scores"], strict=True)) for one in listed]


def largest_difference(trained: list[dict[str, float]], served: list[dict[str, float]]) -> float:
    assert len(trained) == len(served) == 20
    return max(abs(ours[label] - served[i][label]) for i, ours in enumerate(trained) for label in ours)


def changed(source: Path, target: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """A copy of the model file with another manifest."""
    model = onnx.load(source)
    manifest = Manifest.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    onnx.helper.set_model_props(model, change(manifest).to_metadata())
    onnx.save(model, target)
    return target


def other_filter(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"pixels": manifest.pixels.model_copy(update={"interpolation": "lanczos"})})


def other_order(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"labels": manifest.labels[1:] + manifest.labels[:1]})


def signed_again(source: Path) -> None:
    """Record the faulty file's own answer on the test card, as if the fault had been there from the start."""
    model = onnx.load(source)
    manifest = Manifest.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    pixels = to_pixels(decode(manifest.golden.image, manifest.pixels), manifest.pixels)
    (logits,) = session.run(["logits"], {"pixels": pixels[np.newaxis]})
    golden = Golden(
        image=base64.b64encode(manifest.golden.image),
        logits=dict(zip(manifest.labels, logits[0].tolist(), strict=True)),
        tolerance=manifest.golden.tolerance,
    )
    changed(source, source, lambda manifest: manifest.model_copy(update={"golden": golden}))


def test_training_and_the_live_service_agree_on_twenty_kinds_of_files(
    folder: Path, trained: list[dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    with running_service(folder / "model.onnx") as client:
        largest = largest_difference(trained, live(client))
    with capsys.disabled():
        print(f"\nparity: largest logit difference training / live service over 20 kinds of files: {largest:.2e}")  # noqa: T201
    assert largest <= TOLERANCE


@pytest.mark.parametrize("fault", [other_filter, other_order])
def test_a_planted_fault_is_caught_before_the_service_is_ready(
    folder: Path, classifier: Classifier, tmp_path: Path, fault: Callable[[Manifest], Manifest]
) -> None:
    faulty = changed(folder / "model.onnx", tmp_path / "faulty.onnx", fault)
    with pytest.raises(ModelFileError, match="test card"):
        load_model(str(faulty), "cpu", 1)


@pytest.mark.parametrize("fault", [other_filter, other_order])
def test_a_planted_fault_behind_a_forged_test_card_is_seen_by_the_parity_test(
    folder: Path, trained: list[dict[str, float]], tmp_path: Path, fault: Callable[[Manifest], Manifest]
) -> None:
    faulty = changed(folder / "model.onnx", tmp_path / "faulty.onnx", fault)
    signed_again(faulty)
    with running_service(faulty) as client:
        assert largest_difference(trained, live(client)) > 100 * TOLERANCE


def test_the_figures_of_the_file_are_those_of_the_classifier(
    folder: Path, classifier: Classifier, trained: object
) -> None:
    dataset = Dataset.from_dir(folder / "kinds")
    net, file = evaluate(classifier, dataset), evaluate(folder / "model.onnx", dataset)
    assert net.model == file.model
    assert float(np.abs(net.logits - file.logits).max()) <= TOLERANCE
    ours, theirs = metrics_of(net), metrics_of(file)
    assert ours.model == theirs.model
    assert ours.data == theirs.data
    assert ours.test.confusion_matrix == theirs.test.confusion_matrix
    assert ours.test.accuracy == theirs.test.accuracy
    assert ours.test.calibration.error_after.value == pytest.approx(theirs.test.calibration.error_after.value, abs=1e-4)


def test_the_model_file_stands_alone(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    """One file: moved away from everything else it is loaded, checked and scored."""
    moved = tmp_path / "elsewhere" / "any name.onnx"
    moved.parent.mkdir()
    moved.write_bytes((folder / "model.onnx").read_bytes())
    assert load_model(str(moved), "cpu", 1).manifest.labels == LABELS


def test_the_bytes_in_the_manifest_survive_the_way_into_the_file_and_back(folder: Path, classifier: Classifier) -> None:
    manifest = load_model(str(folder / "model.onnx"), "cpu", 1).manifest
    with Image.open(io.BytesIO(manifest.golden.image)) as card:
        assert card.format == "JPEG"
    assert manifest.provenance.parity.max_logit_difference <= manifest.provenance.parity.tolerance
