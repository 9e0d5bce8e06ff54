from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import ValidationError

from salver.artifact.facts.histograms import Histograms
from salver.artifact.manifest import Familiarity, Manifest, Reference
from salver.artifact.pixels import Header
from tests.support.images import picture
from tests.support.models import SPEC, manifest_for

KNOWN = Familiarity(threshold=0.4, max_false_alarms=0.05, reached=0.05, photos=19, directions=2)
LOGITS = np.array([2.0, 0.0], np.float32)


def manifest(familiarity: Familiarity | None = KNOWN) -> Manifest:
    plain = manifest_for(("cup", "plate"), SPEC, b"", [0.0, 0.0])
    return plain.model_copy(update={"familiarity": familiarity})


def counted(histograms: Histograms, seed: int, familiarity: float | None = 0.5, header: Header | None = None) -> None:
    look = histograms.look(np.array(picture(32, 32, seed)), header)
    if look is not None:
        histograms.count(look, LOGITS, familiarity)


def test_each_fact_of_an_image_is_in_its_bin() -> None:
    histograms = Histograms(manifest())
    counted(histograms, 0, 0.39, Header("JPEG", "CMYK", 640, 480, 6))
    found = histograms.counts()
    assert {fact: next(name for name, count in bins.items() if count) for fact, bins in found.items()} == {
        "label": "cup",
        "probability": "0.8000",
        "familiarity": "0.35",
        "foreign": "yes",
        "width": "0384",  # upright
        "height": "0512",
        "mode": "CMYK",
        "brightness": next(iter(found["brightness"])),
        "sharpness": next(iter(found["sharpness"])),
    }
    assert histograms.images == 1


def test_what_a_file_or_its_model_does_not_say_is_not_counted() -> None:
    histograms = Histograms(manifest(None))
    counted(histograms, 0, None)
    assert set(histograms.counts()) == {"label", "probability", "brightness", "sharpness"}


def test_an_image_without_a_familiarity_is_foreign_and_in_the_lowest_bin() -> None:
    histograms = Histograms(manifest())
    counted(histograms, 0, float("nan"))
    assert histograms.counts()["familiarity"] == {"-1.00": 1}
    assert histograms.counts()["foreign"] == {"no": 0, "yes": 1}


def test_the_share_of_foreign_images_is_there_before_the_first() -> None:
    assert Histograms(manifest()).counts() == {"foreign": {"no": 0, "yes": 0}}
    assert Histograms(manifest(None)).counts() == {}


def test_threads_lose_no_count_and_count_no_look_twice() -> None:
    histograms = Histograms(manifest())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: counted(histograms, number % 40), range(400)))
    assert histograms.images == 40
    assert {fact: sum(bins.values()) for fact, bins in histograms.counts().items()} == dict.fromkeys(
        ("foreign", "label", "probability", "familiarity", "brightness", "sharpness"), 40
    )


def test_a_reference_is_small_and_never_more_than_its_images() -> None:
    histograms = Histograms(manifest())
    for seed in range(300):
        counted(histograms, seed, seed / 300, Header("PNG", "RGB", 10 * seed, 7 * seed, 1))
    reference = Reference(images=histograms.images, facts=histograms.counts())
    assert len(reference.model_dump_json()) < 4096
    whole = manifest().model_copy(update={"reference": reference})
    assert Manifest.from_metadata(whole.to_metadata()).reference == reference
    with pytest.raises(ValidationError, match="more images than there were"):
        Reference(images=1, facts={"label": {"cup": 1, "plate": 1}})
    with pytest.raises(ValidationError):
        Reference(images=1, facts={f"fact {number}": {} for number in range(33)})
    with pytest.raises(ValidationError):
        Reference(images=1, facts={"label": {f"label {number}": 0 for number in range(257)}})
