from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from salver.artifact.manifest import PixelSpec
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import SettingError
from training.export.test_card import make_golden
from training.fit.heads.linear import fit_linear, svm
from training.fit.minibatches import Minibatches
from training.fit.recipe.recipe import GENTLE
from training.nets.nets import Resize, build_net, on_cpu, pixel_spec
from training.run.classifier import Classifier

pytestmark = pytest.mark.torch


def fitted(train: Dataset, seed: int = 0, epochs: int = 1, batch_size: int = 64) -> Classifier:
    classifier = Classifier("mobilenet_v2", train.labels, image_size=64, weights="none", seed=seed, device="cpu")
    classifier.fit(train, schedule=[0.01] * epochs, batch_size=batch_size, seed=seed)
    return classifier


def weights(classifier: Classifier) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in classifier.net.state_dict().values()])


@pytest.mark.parametrize(
    ("image_size", "resize", "spec"),
    [
        (224, "crop", PixelSpec(height=224, width=224, resize="crop", shorter_side=256)),
        ((128, 96), "crop", PixelSpec(height=128, width=96, resize="crop", shorter_side=146)),
        (64, "pad", PixelSpec(height=64, width=64, resize="pad")),
        (3584, "crop", PixelSpec(height=3584, width=3584, resize="crop", shorter_side=4096)),
        ((64, 500), "stretch", PixelSpec(height=64, width=500, resize="stretch")),
    ],
)
def test_the_image_size_gives_the_pixel_spec(
    image_size: int | tuple[int, int], resize: Resize, spec: PixelSpec
) -> None:
    assert pixel_spec(image_size, resize) == spec


@pytest.mark.parametrize("image_size", [63, (224, 63), 3585, 0])
def test_an_image_size_out_of_range_is_refused(image_size: int | tuple[int, int]) -> None:
    with pytest.raises(SettingError, match="64 to 3584"):
        Classifier("resnet18", ("cup", "bowl"), image_size=image_size, weights="none")


@pytest.mark.slow
@pytest.mark.parametrize("count", [65, 3])
def test_ds10_65_images_and_3_images_both_train_in_minibatches_of_64(tmp_path: Path, count: int) -> None:
    classifier = fitted(photo_folder(tmp_path, {"cup": count - 1, "bowl": 1}))
    assert torch.isfinite(weights(classifier)).all()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    train = photo_folder(tmp_path, {"cup": 5, "bowl": 5})
    first = weights(fitted(train, epochs=2, batch_size=4))
    torch.rand(7)  # what the caller draws from torch's generator plays no part
    assert torch.equal(first, weights(fitted(train, epochs=2, batch_size=4)))
    assert not torch.equal(first, weights(fitted(train, seed=1, epochs=2, batch_size=4)))


@pytest.mark.slow
def test_fitting_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    train = photo_folder(tmp_path, {"cup": 2, "bowl": 2})
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(train)
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that count as pretrained."""
    torch.manual_seed(3)
    net = build_net("resnet18", 2, "none")
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(net.backbone.state_dict(), path)
    return path


def pretrained(backbone: Path, labels: tuple[str, ...], cache: Path, resize: Resize = "crop") -> Classifier:
    return Classifier(
        "resnet18",
        labels,
        image_size=64,
        weights=str(backbone),
        resize=resize,
        device="cpu",
        cache=cache / "features.sqlite",
    )


@pytest.mark.slow
def test_pretrained_weights_are_fine_tuned_gently(tmp_path: Path, backbone: Path) -> None:
    train = photo_folder(tmp_path, {"cup": 6, "bowl": 6})
    classifier = pretrained(backbone, train.labels, tmp_path)
    statistics = classifier.net.state_dict()["net.backbone.bn1.running_mean"].clone()
    history = classifier.fit(train, train, seed=1)
    assert len(history.epochs) == GENTLE.schedule.epochs
    assert history.epochs[0].eval_accuracy is not None
    assert torch.equal(statistics, classifier.net.state_dict()["net.backbone.bn1.running_mean"])
    assert classifier.head == "softmax"


@pytest.mark.slow
def test_a_head_that_is_fitted_after_a_fit_is_one_of_the_net_as_it_is_by_then(tmp_path: Path, backbone: Path) -> None:
    train = photo_folder(tmp_path / "photos", {"bowl": 5, "cup": 5})
    classifier = pretrained(backbone, train.labels, tmp_path)
    classifier.fit(train, schedule=[0.05], batch_size=5)  # which keeps features of the start weights
    classifier.fit_head(train)
    pixels = Minibatches(train, train.labels, classifier.pixels).read(range(len(train))).pixels
    with torch.inference_mode():
        features = classifier.net.eval().features(pixels)
    wanted = fit_linear(svm(), features, torch.from_numpy(train.targets(train.labels)), 2)
    head = classifier.net.net.head
    assert torch.allclose(head.weight, wanted.weight, rtol=1e-3, atol=1e-3 * float(wanted.weight.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("labels", [("bowl", "cup"), pytest.param(("bowl", "cup", "plate"), marks=pytest.mark.soak)])
def test_an_svm_is_exported_through_the_gate_as_a_linear_layer(
    tmp_path: Path, backbone: Path, labels: tuple[str, ...]
) -> None:
    train = photo_folder(tmp_path / "photos", dict.fromkeys(labels, 5))
    classifier = pretrained(backbone, train.labels, tmp_path)
    before = classifier.net.net.backbone.state_dict()
    classifier.fit_head(train, train)
    manifest = classifier.export(tmp_path / "model.onnx", thresholds={"cup": 0.9})
    assert (manifest.head, manifest.thresholds) == ("svm", {"cup": 0.9})
    assert manifest.temperature > 0
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = Minibatches(train, train.labels, classifier.pixels).read(range(len(train)))
    (margins,) = session.run(["logits"], {"pixels": images.pixels.numpy()})
    assert margins.shape == (len(train), len(labels))
    if len(labels) == 2:
        np.testing.assert_allclose(margins[:, 0], -margins[:, 1], atol=1e-4)
    assert (margins.argmax(1) == images.targets.numpy()).mean() > 0.9
    after = classifier.net.net.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_any_linear_estimator_can_be_the_last_layer(tmp_path: Path, backbone: Path) -> None:
    train = photo_folder(tmp_path, {"cup": 4, "bowl": 4})
    classifier = pretrained(backbone, train.labels, tmp_path)
    heads = []
    for estimator in (RidgeClassifier(), LogisticRegression(C=10.0)):
        classifier.fit_head(train, estimator=estimator)
        heads.append(classifier.head)
    assert heads == ["svm", "softmax"]
    assert classifier.evaluate(train).accuracy == 1


@pytest.mark.slow
def test_what_was_saved_answers_as_before_and_can_be_exported(tmp_path: Path, backbone: Path) -> None:
    train = photo_folder(tmp_path / "photos", {"cup": 4, "bowl": 4})
    classifier = pretrained(backbone, train.labels, tmp_path, "stretch")
    classifier.fit(train, train, schedule=[0.001])
    classifier.save(tmp_path / "cups.safetensors")
    loaded = Classifier.load(tmp_path / "cups.safetensors", device="cpu")
    assert (loaded.labels, loaded.pixels, loaded.head) == (classifier.labels, classifier.pixels, "softmax")
    assert loaded.history == classifier.history
    np.testing.assert_array_equal(loaded.evaluate(train).logits, classifier.evaluate(train).logits)
    manifest = loaded.export(tmp_path / "model.onnx", train)
    assert manifest.weights == classifier.net.net.weights
    assert manifest.golden == make_golden(on_cpu(classifier.net), classifier.pixels, classifier.labels)


@pytest.mark.parametrize("content", [b"", b"not a classifier" * 10, None])
def test_a_file_that_is_no_classifier_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "cups.safetensors").write_bytes(content)
    with pytest.raises(SettingError, match=r"cups\.safetensors cannot be loaded"):
        Classifier.load(tmp_path / "cups.safetensors")


def test_a_classifier_file_whose_tensors_have_other_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cups.safetensors"
    Classifier("resnet18", ("cup", "bowl"), image_size=64, weights="none", device="cpu").save(path)
    path.write_bytes(path.read_bytes().replace(b"running_mean", b"running_mXan", 1))
    with pytest.raises(SettingError, match=r"cups\.safetensors is damaged"):
        Classifier.load(path, device="cpu")


def test_exporting_before_a_fit_is_refused(tmp_path: Path) -> None:
    classifier = Classifier("resnet18", ("cup", "bowl"), image_size=64, weights="none", device="cpu")
    with pytest.raises(SettingError, match="Call fit first"):
        classifier.export(tmp_path / "model.onnx", photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 2}))
    assert not (tmp_path / "model.onnx").exists()


def test_a_device_that_is_not_one_is_refused() -> None:
    with pytest.raises(SettingError, match="auto, cpu, cuda"):
        Classifier("resnet18", ("cup", "bowl"), weights="none", device="tpu")  # type: ignore[arg-type]


@pytest.mark.slow
def test_of_many_photos_those_that_are_watched_tell_and_the_folds_are_left_out(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, watched = photo_folder(tmp_path, {"cup": 12, "bowl": 12}).split(0.5)
    classifier = pretrained(backbone, train.labels, tmp_path)
    monkeypatch.setattr("training.run.classifier.MOST_PHOTOS", 11)
    classifier.fit_head(train, watched)
    assert classifier.cross_validated is None
    monkeypatch.setattr("training.run.classifier.MOST_PHOTOS", 12)
    classifier.fit_head(train, watched)
    assert classifier.cross_validated is not None
