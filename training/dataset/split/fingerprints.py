"""Which photos a run had in which part: made of them, and known again by their content."""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from salver.artifact.manifest import PRINT_BYTES, Fingerprints
from training.dataset.image import LabelledImage
from training.dataset.reading.layout import PARTS, Part
from training.errors import DatasetError


def take_fingerprints(parts: Mapping[Part, Sequence[LabelledImage]]) -> Fingerprints:
    """Of the photos of each part. Raises DatasetError for a photo that cannot be read."""
    return Fingerprints.model_validate({part: _joined(images) for part, images in parts.items()})


def _joined(images: Iterable[LabelledImage]) -> dict[str, bytes]:
    of_label: dict[str, list[bytes]] = defaultdict(list)
    for image in images:
        of_label[image.label].append(_short(image.sha256))
    return {label: base64.b64encode(b"".join(sorted(prints))) for label, prints in of_label.items()}


def _short(digest: str) -> bytes:
    return bytes.fromhex(digest)[:PRINT_BYTES]


class Known:
    """The photos of a run. One that was encoded anew, cut or turned has another content, and is unknown."""

    def __init__(self, fingerprints: Fingerprints) -> None:
        self._places: dict[bytes, list[tuple[Part, str]]] = defaultdict(list)
        for part in PARTS:
            for label, joined in fingerprints.parts[part].items():
                for start in range(0, len(joined), PRINT_BYTES):
                    self._places[joined[start : start + PRINT_BYTES]].append((part, label))

    def part(self, image: LabelledImage) -> Part | None:
        """In which it was, training before validation and that before test; None for one that is new to the run."""
        found = {part for part, _ in self._of(image)}
        return next((part for part in PARTS if part in found), None)

    def has_other_label(self, image: LabelledImage) -> bool:
        """Whether the run had it, and under other labels only."""
        places = self._of(image)
        return bool(places) and image.label not in {label for _, label in places}

    def size(self, part: Part) -> int:
        """The number of photos that the run had there."""
        return sum(there == part for places in self._places.values() for there, _ in places)

    def held(self, part: Part, images: Iterable[LabelledImage]) -> int:
        """How many of the run's photos of that part are among these, under whatever name and label."""
        copies = Counter(key for image in images if (key := _key(image)))
        return sum(
            min(copies[key], sum(there == part for there, _ in places))
            for key, places in self._places.items()
            if key in copies
        )

    def _of(self, image: LabelledImage) -> list[tuple[Part, str]]:
        return self._places.get(_key(image), [])


def _key(image: LabelledImage) -> bytes:
    """Empty for a file that cannot be read: who needs its pixels says so, and names all of its kind."""
    try:
        return _short(image.sha256)
    except DatasetError:
        return b""
