"""The root of every room's errors.

SalverError                  its text is one plain sentence that a person can act on
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


class VariableError(SalverError):
    """A proxy or certificates that a variable of the environment names cannot be used; the text names the variable."""
