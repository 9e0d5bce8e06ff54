"""The root of every room's errors.

SalverError                  its text is one plain sentence that a person can act on
├── Interrupted              a command was asked to stop; what it has done is kept
├── VariableError            a proxy or certificates that the environment names cannot be used
├── ArtifactError            salver.artifact.errors: an image, or a model file
├── ClientError              salver.client.errors: a call to a service, or a deployment
├── TrainingError            training.errors: before the model file is there
├── ScoringError             service.errors: what the API answers instead of a score
├── SettingsError            service.errors: a setting of the service
└── LoadTestError            loadtest.errors: a load test itself
"""


class SalverError(Exception):
    """The root: its text is one plain sentence that a person can act on."""


class Interrupted(SalverError):
    """A command was asked to stop and did, in between two steps; what it has done is kept."""

    signal: int = 2
    """The number of the signal that asked: SIGINT unless it is said."""


class VariableError(SalverError):
    """A proxy or certificates that a variable of the environment names cannot be used; the text names the variable."""
