import math

import pytest

from salver.artifact.facts.bins import EDGES, FACTS, MOST_LABELS, OTHER, bins_of, label_bins, mode_bin, number_bin


@pytest.mark.parametrize("fact", EDGES)
def test_every_number_has_a_bin_and_the_bins_are_in_order_as_text_too(fact: str) -> None:
    edges, names = EDGES[fact], bins_of(fact, ())
    assert list(edges) == sorted(set(edges))
    assert list(names) == sorted(set(names))
    for edge, name in zip(edges, names, strict=True):
        assert number_bin(fact, edge) == name
        assert number_bin(fact, math.nextafter(edge, math.inf)) == name
    assert number_bin(fact, math.inf) == number_bin(fact, 1e9) == names[-1]
    assert number_bin(fact, -math.inf) == number_bin(fact, edges[0] - 1e-9) == names[0]


def test_a_number_that_is_none_is_in_the_lowest_bin_as_it_is_never_familiar() -> None:
    assert number_bin("familiarity", math.nan) == "-1.00"


def test_labels_beyond_the_hundredth_and_modes_that_nobody_knows_share_a_bin() -> None:
    labels = tuple(f"label {number}" for number in range(150))
    bins = label_bins(labels)
    assert bins[:MOST_LABELS] == labels[:MOST_LABELS]
    assert set(bins[MOST_LABELS:]) == {OTHER}
    assert bins_of("label", labels) == (*labels[:MOST_LABELS], OTHER)
    assert mode_bin("RGB") == "RGB"
    assert mode_bin("made up") == OTHER
    assert all(len(bins_of(fact, labels)) <= 256 for fact in FACTS)


def test_a_fact_that_is_none_has_no_bins() -> None:
    with pytest.raises(KeyError):
        bins_of("colour", ())
