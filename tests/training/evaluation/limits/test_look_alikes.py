import numpy as np

from training.evaluation.limits.look_alikes import look_alikes


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Of features that have much in common, as a net's have: cosines of about 0.8."""
    random = np.random.default_rng(seed)
    return (2 + random.normal(size=(count, 64))).astype(np.float32)


def test_a_pair_that_stands_out_is_found_whatever_the_lengths_are() -> None:
    features = vectors(40)
    features[31] = 7 * (features[4] + 0.1 * vectors(1, 9)[0])
    (pair,) = look_alikes(features)
    assert (pair.one, pair.other) == (4, 31)
    assert 0.9 < pair.cosine <= 1


def test_where_many_are_near_none_stands_out() -> None:
    """Photos before one wall: each has a dozen neighbours at a cosine above 0.9."""
    near = vectors(1) + 0.3 * np.random.default_rng(1).normal(size=(12, 64)).astype(np.float32)
    unit = near / np.linalg.norm(near, axis=1, keepdims=True)
    assert (unit @ unit.T).min() > 0.9
    assert look_alikes(np.concatenate([vectors(20, 2), near])) == []


def test_equal_ones_and_the_nearest_come_first() -> None:
    features = vectors(30)
    features[7], features[9] = features[2], features[5] + 0.1 * vectors(1, 3)[0]
    found = look_alikes(features)
    assert [(pair.one, pair.other) for pair in found] == [(2, 7), (5, 9)]
    assert found[0].cosine == 1


def test_features_that_say_nothing_are_like_none() -> None:
    features = vectors(12)
    features[3] = features[4] = 0
    features[5] = np.nan
    features[6] = np.inf
    assert look_alikes(features) == []
    assert look_alikes(features[:2]) == look_alikes(features[:0]) == look_alikes(features[3:6]) == []
