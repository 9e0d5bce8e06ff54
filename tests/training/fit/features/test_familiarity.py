"""Familiarity: what the plane says, where the threshold lies, and that neither is fooled by copies or by no numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from salver.artifact.scores import is_foreign
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.dataset.gather.sample.render import write_sample
from training.errors import SettingError
from training.fit.features import familiarity
from training.fit.features.familiarity import (
    MOST_DIRECTIONS,
    PHOTOS_A_DIRECTION,
    Fitted,
    fit_familiarity,
    judged_photos,
    unit,
)
from training.ranges import FALSE_ALARMS

pytestmark = pytest.mark.torch

WIDTH, SPANNED = 64, 5


def kind(count: int, seed: int, noise: float = 0.05) -> Tensor:
    """[count, WIDTH] features of one kind: around a plane of few directions, which is the same for every seed."""
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(WIDTH, SPANNED)))[0].T
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, SPANNED)) @ basis + noise * random.normal(size=(count, WIDTH))
    return torch.from_numpy(vectors.astype(np.float32))


def fitted(features: Tensor) -> Fitted:
    found = fit_familiarity(features, range(len(features)), seed=0)
    assert found is not None
    return found


def test_its_own_kind_is_familiar_and_another_is_not() -> None:
    found = fitted(kind(200, 2))
    threshold = found.judged(0.05).threshold
    own, others = found.plane(kind(400, 3)), found.plane(torch.from_numpy(np.eye(WIDTH, dtype=np.float32)))
    assert float((own < threshold).float().mean()) < 0.1
    assert all(is_foreign(each, threshold) for each in others.tolist())


def test_it_is_from_minus_one_to_one_and_takes_no_notice_of_the_length_of_a_vector() -> None:
    plane = fitted(kind(200, 2)).plane
    vectors = torch.cat([kind(50, 4), -kind(50, 5), torch.randn(50, WIDTH)])
    values = plane(vectors)
    assert float(values.min()) >= -1
    assert float(values.max()) <= 1
    for factor in (1e-30, 1e30):  # whose squares are 0 and infinite
        torch.testing.assert_close(plane(vectors * factor), values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), float("-inf")])
def test_a_vector_that_is_zero_or_no_number_has_no_familiarity_and_is_foreign(value: float) -> None:
    found = fitted(kind(60, 2))
    vectors = kind(2, 3)
    vectors[0] = 0
    vectors[0, 7] = value
    unknown, known = found.plane(vectors).tolist()
    assert np.isnan(unknown)
    assert np.isfinite(known)
    for threshold in (-1.0, 0.0, found.judged(0.05).threshold):
        assert is_foreign(unknown, threshold)


def test_vectors_that_are_no_numbers_play_no_part_in_the_fit() -> None:
    good = kind(60, 2)
    bad = torch.full((3, WIDTH), float("nan"))
    bad[1] = 0
    bad[2] = float("inf")
    found = fit_familiarity(torch.cat([good, bad]), range(63), seed=0)
    assert found is not None
    assert found.judged(0.05).photos == 60
    torch.testing.assert_close(found.plane.centre, fitted(good).plane.centre)
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("photos", [0, 1, 3])
def test_too_few_photos_give_none(photos: int) -> None:
    assert fit_familiarity(kind(photos, 2), range(photos), seed=0) is None


def test_photos_that_are_all_alike_give_none() -> None:
    assert fit_familiarity(kind(8, 2), [0] * 8, seed=0) is None


# Row N3-34 of the cases: a false-alarm rate that the number of photos cannot give.
@pytest.mark.parametrize(
    ("photos", "asked", "reached"),
    [(12, 0.05, 1 / 13), (300, 0.001, 1 / 301), (300, 0.05, 15 / 301), (99, 0.05, 5 / 100), (19, 0.05, 1 / 20)],
)
def test_a_rate_that_so_few_photos_cannot_give_is_restated(photos: int, asked: float, reached: float) -> None:
    found = fitted(kind(photos, 2))
    judged = found.judged(asked)
    assert (judged.photos, judged.max_false_alarms) == (photos, asked)
    assert judged.reached == pytest.approx(reached)
    below = float((found.scores < judged.threshold).mean())
    assert below < reached  # conformal: of the photos themselves, fewer than that lie below
    assert 0 < judged.reached < 1


@pytest.mark.parametrize("asked", [0.0, 1.0, -0.1, float("nan")])
def test_rates_that_would_reject_nobody_or_everybody_are_refused(asked: float) -> None:
    with pytest.raises(SettingError, match="The share of false alarms is"):
        FALSE_ALARMS.check(asked)


def test_the_rate_holds_for_fresh_vectors_of_the_kind() -> None:
    alarms = []
    for seed in range(20):
        found = fitted(kind(100, 100 + seed))
        fresh = found.plane(kind(500, 200 + seed)).numpy()
        alarms.append(float((fresh < found.judged(0.05).threshold).mean()))
    assert 0.02 < np.mean(alarms) < 0.055


def test_directions_are_a_quarter_of_the_photos_and_at_most_so_many() -> None:
    assert fitted(kind(40, 2)).judged(0.05).directions == 40 // PHOTOS_A_DIRECTION
    assert fitted(kind(400, 2)).judged(0.05).directions == min(MOST_DIRECTIONS, WIDTH - 1)


# Row N3-35: copies of a photo lie in one fold, and count once where they are the same to the byte.
def test_each_content_is_judged_once_and_the_thresholds_agree(tmp_path: Path) -> None:
    once = photo_folder(tmp_path / "photos", {"cup": 10, "plate": 10})
    for image in once.images:
        (image.path.parent / f"again-{image.path.name}").write_bytes(image.path.read_bytes())
    twice = Dataset.from_dir(tmp_path / "photos")
    assert len(twice) == 40
    (photos, folds), (same, same_folds) = judged_photos(once), judged_photos(twice)
    assert sorted(image.sha256 for image in photos.images) == sorted(image.sha256 for image in same.images)
    assert len(folds) == len(same_folds) == 20


def test_photos_that_look_alike_have_one_number(tmp_path: Path) -> None:
    write_sample(tmp_path / "photos", 3)
    first = tmp_path / "photos" / "cup" / "cup-000.jpg"
    with Image.open(first) as picture:
        picture.save(first.with_name("near.jpg"), quality=60)
    photos, numbers = judged_photos(Dataset.from_dir(tmp_path / "photos"))
    of = {image.path.name: number for image, number in zip(photos.images, numbers, strict=True)}
    assert of["near.jpg"] == of["cup-000.jpg"]
    assert len(set(numbers)) == 12


def test_a_photo_is_never_judged_by_a_plane_that_knew_its_copy() -> None:
    """Vectors far from all others: known to the plane they would be familiar, and their twin would make them known."""
    strange = torch.from_numpy(np.eye(WIDTH, dtype=np.float32)[:8])
    features = torch.cat([kind(60, 2), strange, strange])
    numbers = [*range(60), *range(60, 68), *range(60, 68)]
    apart = fit_familiarity(features, range(len(features)), seed=0)
    joined = fit_familiarity(features, numbers, seed=0)
    assert apart is not None
    assert joined is not None
    assert joined.scores[60:].max() < apart.scores[60:].mean()


def test_of_many_photos_so_many_are_taken_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(familiarity, "MOST_PHOTOS", 8)
    train = photo_folder(tmp_path / "photos", {"cup": 10, "plate": 10})
    photos, numbers = judged_photos(train)
    assert photos.counts() == {"cup": 4, "plate": 4}
    assert numbers == list(range(8))


def test_unit_vectors_have_length_one() -> None:
    assert torch.linalg.vector_norm(unit(kind(9, 2)), dim=1).tolist() == pytest.approx([1.0] * 9)
