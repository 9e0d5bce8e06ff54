"""What a model has seen of the photos that it is evaluated on."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from salver.artifact.manifest import Fingerprints
from salver.system.regular_file import read_regular
from salver.text import counted
from training.dataset.image import LabelledImage
from training.dataset.reading.own import RECORD
from training.dataset.split.fingerprints import Known
from training.dataset.test_set import TestSet
from training.evaluation.model_file import ModelFile
from training.evaluation.schema import PartCounts, Seen

MAX_RECORD_BYTES = 64 * 1024**2


class _Record(BaseModel):
    """What is needed of a run's `run.json`."""

    model_config = ConfigDict(extra="ignore")

    trained_on: str
    fingerprints: Fingerprints


def known_photos(file: ModelFile) -> Known | None:
    """By the file's own fingerprints, or those in the folder of the run that it lies in; None where neither has any.

    That the run is the file's is told by the fingerprint of its training photos, which other versions and precisions
    of the file share.
    """
    if file.manifest.fingerprints is not None:
        return Known(file.manifest.fingerprints)
    try:
        record = _Record.model_validate_json(read_regular(file.path.with_name(RECORD), MAX_RECORD_BYTES))
    except (OSError, ValidationError):
        return None
    same = record.trained_on == file.manifest.provenance.data_fingerprint
    return Known(record.fingerprints) if same else None


def part_counts(known: Known, images: Sequence[LabelledImage]) -> PartCounts:
    """How many of the images the run had in which part."""
    found = Counter(known.part(image) for image in images)
    return PartCounts(train=found["train"], validation=found["validation"], test=found["test"], new=found[None])


def seen(known: Known, chosen: TestSet) -> Seen:
    """What the run had of a folder's photos, and of those that are scored."""
    scored, folder = chosen.scored.images, chosen.folder.images
    there = [*folder, *(out.image for out in chosen.folder.left_out)]
    held = [known.held("test", images) for images in (scored, folder, there)]
    photos = known.size("test")
    return Seen(
        folder=part_counts(known, folder),
        scored=part_counts(known, scored),
        other_label=sum(known.has_other_label(image) for image in scored),
        test_photos=photos,
        test_scored=held[0],
        test_not_taken=held[1] - held[0],
        test_left_out=held[2] - held[1],
        test_gone=photos - held[2],
    )


def described(found: Seen) -> tuple[str, ...]:
    """What there is to say of it before a test, as lines for a terminal and for the report."""
    folder, scored = found.folder, found.scored
    lines = [known_part(folder)]
    if folder.new == _total(folder):
        return tuple(lines)
    if scored.train or scored.validation:
        lines.append(f"of the {_total(scored)} scored photos {_used(scored)}: these figures are too good")
    lines += _missing(found)
    if found.other_label:
        have = "has" if found.other_label == 1 else "have"
        lines.append(f"{counted(found.other_label, 'scored photo')} {have} another label than in the model's run")
    return tuple(lines)


def _total(counts: PartCounts) -> int:
    return counts.train + counts.validation + counts.test + counts.new


def known_part(counts: PartCounts) -> str:
    """How many of the photos the run had, and what for."""
    if counts.new == _total(counts):
        these = "this one photo was not" if counts.new == 1 else f"none of these {counts.new} photos was"
        return f"{these} in the model's run, as far as contents tell"
    told = [f"{counts.train} of these {_total(counts)} photos {_was(counts.train)} trained on"]
    told += [f"{counts.validation} watched (validation)"] if counts.validation else []
    tested = "is a test photo" if counts.test == 1 else "are test photos"
    told += [f"{counts.test} {tested} of the run"] if counts.test else []
    told += [f"{counts.new} {_is(counts.new)} new to it"] if counts.new else []
    return ", ".join(told)


def _used(counts: PartCounts) -> str:
    told = [f"{counts.train} {_was(counts.train)} trained on"] if counts.train else []
    told += [f"{counts.validation} {_was(counts.validation)} watched"] if counts.validation else []
    return " and ".join(told)


def _missing(found: Seen) -> list[str]:
    ways = {
        "not among the scored ones": found.test_not_taken,
        "left out, as flagged or quarantined": found.test_left_out,
        "removed, moved away or changed": found.test_gone,
    }
    missing = sum(ways.values())
    if not missing:
        return []
    told = ", ".join(f"{count} {way}" for way, count in ways.items() if count)
    return [
        f"of the {counted(found.test_photos, 'test photo')} of the model's run {missing} {_is(missing)} missing here "
        f"({told}): what is left may be easier"
    ]


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
