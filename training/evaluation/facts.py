"""Where an evaluation comes from: the model file, and the images that were scored."""

from collections import Counter
from collections.abc import Sequence

from salver.text import printable
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.evaluation.evaluate import Evaluation
from training.evaluation.schema import DataFacts, ModelFacts


def model_facts(evaluation: Evaluation) -> ModelFacts | None:
    """None for a classifier that has not been exported."""
    if evaluation.model is None:
        return None
    manifest = evaluation.model.manifest
    return ModelFacts(
        file=printable(evaluation.model.path),
        sha256=evaluation.model.sha256,
        base=manifest.base,
        weights=manifest.weights,
        head=manifest.head,
        precision=manifest.precision,
        temperature=manifest.temperature,
        thresholds=manifest.thresholds or {},
        pixels=manifest.pixels,
        provenance=manifest.provenance,
    )


def data_facts(evaluation: Evaluation) -> DataFacts:
    """The fingerprint is that of `Dataset.fingerprint`; empty where the evaluation does not know its images."""
    images, counts = evaluation.images, Counter(evaluation.truths.tolist())
    return DataFacts(
        folder=", ".join(folders(images)[:3]),
        images=len(evaluation.truths),
        counts={label: counts[index] for index, label in enumerate(evaluation.labels)},
        fingerprint=Dataset(images, evaluation.labels).fingerprint() if images else "",
    )


def folders(images: Sequence[LabelledImage]) -> list[str]:
    """What stands before the names of the images: one folder for a data set that was read from a folder."""
    return [printable(folder) for folder in sorted({_folder(image) for image in images})]


def _folder(image: LabelledImage) -> str:
    path = str(image.path)
    return (path.removesuffix(image.name).rstrip("/") or ".") if path.endswith(image.name) else str(image.path.parent)
