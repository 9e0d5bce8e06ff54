"""What can go wrong before the model file is there.

TrainingError
├── SettingError      a base, image size, schedule or other setting of the run that cannot work
├── DatasetError      the folder of photos, or a split of it, cannot be used
├── Interrupted       the run was asked to stop; what it has done is kept
├── SourceError       one source of images of a data set that is being built gives none; the others go on
├── WeightsError      the starting weights cannot be fetched, read or fitted to the net
├── ExportRefused     the gate found that the model file differs from the trained net
└── ForeignFolder     a folder that the sample was to be written to holds something else (gather.sample)
"""

from salver.errors import SalverError


class TrainingError(SalverError):
    """The root: its text says what was wrong, where, and what to do."""


class SettingError(TrainingError):
    """A base, image size, schedule or other setting of the run that cannot work."""


class DatasetError(TrainingError):
    """The folder of photos, or a split of it, cannot be used."""


class Interrupted(TrainingError):
    """The run was asked to stop and did, between two steps; what it has done is kept where there is a checkpoint."""

    signal: int = 2
    """The number of the signal that asked: SIGINT unless it is said."""


class SourceError(TrainingError):
    """One source of images of a data set that is being built gives none; the others go on."""


class WeightsError(TrainingError):
    """The starting weights cannot be fetched, read or fitted to the net."""


class ExportRefused(TrainingError):
    """The gate found that the model file differs from the trained net: no file was written."""
