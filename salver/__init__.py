"""From a folder of labelled photos to an image-scoring service: the names for other people's code.

    from salver import Classifier, Dataset, ScoringClient

Each is loaded when it is first used, so whoever only scores images needs neither numpy nor torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from salver.client.result import Score, ScoreError
    from salver.client.scoring import ScoringClient
    from salver.deployment.deployment import Deployment
    from salver.errors import SalverError
    from training.dataset.dataset import Dataset
    from training.evaluation.evaluate import evaluate
    from training.fit.augmentation import augment
    from training.report.annotating import annotate
    from training.report.contact_sheet import contact_sheet
    from training.report.notebook import results_viewer
    from training.report.search import search
    from training.run.by_folds import evaluate_by_folds
    from training.run.classifier import Classifier
    from training.run.label_errors import label_errors
else:  # a type checker would take any name for one of ours
    from salver.rooms import load

    _HOMES = {
        "Classifier": ("training.run.classifier", "train"),
        "Dataset": ("training.dataset.dataset", "data"),
        "Deployment": ("salver.deployment.deployment", "client"),
        "SalverError": ("salver.errors", "client"),
        "Score": ("salver.client.result", "client"),
        "ScoreError": ("salver.client.result", "client"),
        "ScoringClient": ("salver.client.scoring", "client"),
        "annotate": ("training.report.annotating", "annotate"),
        "augment": ("training.fit.augmentation", "train"),
        "contact_sheet": ("training.report.contact_sheet", "train"),
        "evaluate": ("training.evaluation.evaluate", "train"),
        "evaluate_by_folds": ("training.run.by_folds", "train"),
        "label_errors": ("training.run.label_errors", "train"),
        "results_viewer": ("training.report.notebook", "train"),
        "search": ("training.report.search", "train"),
    }
    """By name the module it lies in, and the extra whose packages that needs."""

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'salver' has no attribute '{name}'")
        module, extra = _HOMES[name]
        globals()[name] = found = getattr(load(module, f"salver.{name}", extra), name)
        return found

    def __dir__():
        return sorted({*globals(), *_HOMES})


__all__ = [
    "Classifier",
    "Dataset",
    "Deployment",
    "SalverError",
    "Score",
    "ScoreError",
    "ScoringClient",
    "annotate",
    "augment",
    "contact_sheet",
    "evaluate",
    "evaluate_by_folds",
    "label_errors",
    "results_viewer",
    "search",
]
