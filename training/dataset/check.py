"""`salver check`: look at every file of a set of photos before training does."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from salver.system.durable import durable
from salver.text import counted, printable
from training.dataset.collection import Collection, collect
from training.dataset.dataset import Dataset
from training.dataset.findings import Finding, Inspected, find_all, smaller
from training.dataset.image import LabelledImage
from training.dataset.inspection.files import inspect_files
from training.dataset.inspection.inspection import Inspection
from training.dataset.reading.annotations import Quarantined, read_quarantine, write_quarantine
from training.dataset.reading.doubtful import LabelErrors
from training.dataset.reading.folder import natural_order, nfc
from training.errors import DatasetError
from training.progress import Progress, Silent

OnBad = Literal["error", "skip"]


@dataclass(frozen=True)
class CheckReport:
    """What `salver check` says: `counts` by label in class order, sizes (width, height) of the upright images, `notes`
    on how the folders were understood.
    """

    data: str
    images: int
    counts: dict[str, int]
    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    size_bytes: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    label_errors: LabelErrors | None = None
    """None when it was not asked for."""

    @property
    def problems(self) -> int:
        """Cases that training fails on, or whose figures it makes wrong."""
        return sum(len(finding.items) for finding in self.findings if finding.problem)

    def write(self, path: Path) -> None:
        """As JSON. Raises OSError."""
        content = {**asdict(self), "problems": self.problems}
        with durable(path) as partial:
            partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8", "backslashreplace")


def check(
    root: Path,
    against: Path | None = None,
    *,
    quarantine: bool = False,
    progress: Progress | None = None,
) -> CheckReport:
    """Decode every image below `root` and compare them with one another and with those below `against`.

    With `quarantine`, the unreadable ones are put into quarantine.csv, and the report is of what is left. Nothing is
    decoded twice. Raises DatasetError for a folder that cannot be read.
    """
    progress = progress or Silent()
    collection = collect(root)
    inspected = _inspect(collection, progress)
    if quarantine:
        _put_in_quarantine(root, collection, inspected)
        return check(root, against, quarantine=False, progress=progress)
    other = _inspect(collect(against), progress) if against else None
    findings = find_all(collection, inspected, other)
    return _report(root, collection, inspected.readable().inspections, findings)


def checked(dataset: Dataset, on_bad: OnBad, image_size: tuple[int, int], progress: Progress) -> Dataset:
    """What `salver train` does first. `on_bad` says what happens to unreadable files: "error" or "skip".

    Images that are smaller than `image_size`, the net's height and width, get a note. Raises DatasetError for
    unreadable files unless they are skipped, and for a label of which nothing is left.
    """
    inspections = inspect_files([image.path for image in dataset.images], progress)
    bad = {image.name: found.problem for image, found in zip(dataset.images, inspections, strict=True) if found.problem}
    if bad and on_bad == "error":
        lines = "\n  ".join(f"{printable(name)}: {problem}" for name, problem in bad.items())
        raise DatasetError(
            f"{len(bad)} of {counted(len(dataset), 'image')} cannot be read. Mend or remove them, list them with "
            f"salver check --quarantine, or train with --on-bad skip:\n  {lines}"
        )
    rest = dataset.without(bad, "unreadable") if bad else dataset
    pairs = Inspected(dataset.images, inspections).readable()
    note = smaller(pairs, image_size)
    return replace(rest, notes=(*rest.notes, note)) if note else rest


def _inspect(collection: Collection, progress: Progress) -> Inspected:
    images = [*collection.images, *collection.unlabelled]
    return Inspected(images, inspect_files([image.path for image in images], progress))


def _put_in_quarantine(root: Path, collection: Collection, inspected: Inspected) -> None:
    """Beside those that stay listed; a file that has been mended or removed since does not."""
    listed = read_quarantine(root)
    stays = [listed[nfc(out.image.name)] for out in collection.left_out if out.reason == "quarantined"]
    bad = [Quarantined(image.name, found.sha256, found.problem) for image, found in inspected if found.problem]
    write_quarantine(root, [*stays, *bad])


def _report(
    root: Path, collection: Collection, readable: Sequence[Inspection], findings: tuple[Finding, ...]
) -> CheckReport:
    sizes = [found.upright_size for found in readable] or [(0, 0)]
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    return CheckReport(
        data=printable(root),
        images=len(collection.images),
        counts=_counts(collection.images),
        smallest=by_area[0],
        median=by_area[len(by_area) // 2],
        largest=by_area[-1],
        size_bytes=sum(found.size_bytes for found in readable),
        findings=findings,
        notes=collection.notes,
    )


def _counts(images: Sequence[LabelledImage]) -> dict[str, int]:
    counts = Counter(image.label for image in images)
    return {label: counts[label] for label in sorted(counts, key=natural_order)}
