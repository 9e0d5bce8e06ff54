"""What can go wrong before the model file is there.

TrainingError
├── SettingError      a base, image size, schedule or other setting of the run that cannot work
├── DatasetError      the folder of photos, or a split of it, cannot be used
├── SourceError       one source of images of a data set that is being built gives none; the others go on
├── WeightsError      the starting weights cannot be fetched, read or fitted to the net
├── ExportRefused     the gate found that the model file differs from the trained net
└── ForeignFolder     a folder that the sample was to be written to holds something else (gather.sample)
"""

from salver.errors import Interrupted as Interrupted
from salver.errors import SalverError


class TrainingError(SalverError):
    """The root: its text says what was wrong, where, and what to do."""


class SettingError(TrainingError):
    """A base, image size, schedule or other setting of the run that cannot work."""


class DatasetError(TrainingError):
    """The folder of photos, or a split of it, cannot be used."""


class SourceError(TrainingError):
    """One source of images of a data set that is being built gives none; the others go on."""


class WeightsError(TrainingError):
    """The starting weights cannot be fetched, read or fitted to the net."""


class ExportRefused(TrainingError):
    """The gate found that the model file differs from the trained net: no file was written."""
