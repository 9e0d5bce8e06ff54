from pathlib import Path

import pytest
import torch

from tests.training.support.counted import Counted
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import DatasetError
from training.fit.device import make_accelerator
from training.fit.features.vectors import extract, judge
from training.fit.heads.linear import svm
from training.nets.nets import PixelNet, build_net, pixel_spec

pytestmark = pytest.mark.torch

SPEC = pixel_spec(64)


def net(seed: int = 0, base: str = "resnet18") -> PixelNet:
    torch.manual_seed(seed)
    made = PixelNet(build_net(base, 2, "none"))
    made.net.weights = f"file:weights-{seed}.pt"
    return made


def features(net: PixelNet, dataset: Dataset, cache: Path, counted: Counted) -> torch.Tensor:
    return extract(net, dataset, SPEC, make_accelerator("cpu"), cache=cache, progress=counted)


@pytest.mark.parametrize(("base", "width"), [("resnet18", 512), ("alexnet", 4096), ("mobilenet_v2", 1280)])
def test_features_are_what_comes_before_the_last_layer(tmp_path: Path, base: str, width: int) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 2})
    made = net(base=base).eval()
    found = features(made, dataset, tmp_path / "cache", Counted())
    assert found.shape == (4, width)


def test_each_image_is_computed_once_for_a_net_a_pixel_spec_and_its_content(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 3, "bowl": 3})
    counted = Counted()
    first = features(net(), dataset, tmp_path / "cache", counted)
    assert torch.equal(features(net(), dataset, tmp_path / "cache", counted), first)
    assert counted.images == 6
    (tmp_path / "photos" / "cup" / "002.jpg").rename(tmp_path / "photos" / "cup" / "moved.jpg")
    (tmp_path / "photos" / "bowl" / "new.jpg").write_bytes(
        photo_folder(tmp_path / "more", {"x": 20, "y": 1}).images[-1].read()
    )
    features(net(), Dataset.from_dir(tmp_path / "photos"), tmp_path / "cache", counted)
    assert counted.images == 7
    other = features(net(seed=1), Dataset.from_dir(tmp_path / "photos"), tmp_path / "cache", counted)
    assert counted.images == 14
    assert not torch.equal(other[1:4], first[:3])


def test_a_net_that_was_trained_since_has_features_of_its_own(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 2})
    made, counted = net(), Counted()
    before = features(made, dataset, tmp_path / "cache", counted)
    with torch.no_grad():
        made.net.backbone.get_submodule("layer4.1.bn2").get_parameter("bias").add_(1.0)
    assert not torch.equal(features(made, dataset, tmp_path / "cache", counted), before)
    assert counted.images == 8
    with torch.no_grad():
        made.net.head.weight.zero_()  # no feature depends on it
    features(made, dataset, tmp_path / "cache", counted)
    assert counted.images == 8


def test_a_cache_that_cannot_be_used_is_told_and_costs_only_time(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 2})
    (tmp_path / "cache").write_bytes(b"not a database" * 100)
    counted = Counted()
    features(net(), dataset, tmp_path / "cache", counted)
    assert counted.images == 4
    assert any("cache cannot be written" in line for line in counted.lines)


def test_every_image_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 3, "bowl": 3})
    for name in ("cup/001.jpg", "bowl/002.jpg"):
        (tmp_path / "photos" / name).write_bytes(b"not an image")
    with pytest.raises(DatasetError, match=r"2 of 6 images cannot be read[\s\S]*bowl/002[\s\S]*cup/001"):
        features(net(), dataset, tmp_path / "cache", Counted())


def test_the_resize_is_chosen_by_what_the_features_are_good_for(tmp_path: Path) -> None:
    """The labels differ at the left and right edges alone, which a centre crop of a wide image never shows."""
    from PIL import Image

    from tests.support.images import encode

    for label, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        for number in range(6):
            image = Image.effect_noise((300, 60), 20 + number).convert("RGB")
            for left in (0, 250):
                image.paste(colour, (left, 0, left + 50, 60))
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "photos" / label / f"{number}.png").write_bytes(encode(image, "PNG"))
    dataset = Dataset.from_dir(tmp_path / "photos")
    specs = [pixel_spec(64, "crop"), pixel_spec(64, "stretch")]
    told = Counted()
    number, found = judge(
        net(),
        dataset,
        specs,
        svm(),
        dataset.folds(5),
        make_accelerator("cpu"),
        cache=tmp_path / "cache",
        progress=told,
    )
    assert number == 1
    assert [line.split(":")[0] for line in told.lines] == ["crop", "stretch"]
    assert found.answers.accuracy == 1
    assert found.figure.judged.all()
