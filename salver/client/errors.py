"""What a call to a scoring service can raise; an image that could not be scored is a result, not one of these.

ClientError                 its text is one plain sentence
├── ServiceUnreachable      no answer: wrong URL, nothing listening, or too slow
├── RequestRefused          the service answered with an error for the whole request
│   └── KeyRefused          the key is missing or wrong
├── UnexpectedAnswer        an answer that is not of the documented form
└── DeploymentFailed        a service could not be started, changed or found
"""

from salver.errors import SalverError


class ClientError(SalverError):
    """The root: its text is one plain sentence."""


class ServiceUnreachable(ClientError):
    """No answer: wrong URL, nothing listening, or too slow."""


class RequestRefused(ClientError):
    """The service answered with an error for the whole request.

    `status` is the HTTP status, `type` the kind of error, such as `urn:salver:overloaded`.
    """

    def __init__(self, text: str, status: int, type: str) -> None:
        super().__init__(text)
        self.status = status
        self.type = type


class KeyRefused(RequestRefused):
    """The key is missing or wrong."""


class UnexpectedAnswer(ClientError):
    """An answer that is not of the documented form."""


class DeploymentFailed(ClientError):
    """A service could not be started, changed or found; the text has the service's own words where it spoke."""
