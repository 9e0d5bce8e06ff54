"""What the scoring API answers instead of a score: a closed set, and the one table that gives each its status.

ScoringError          one of the kinds below, with a sentence for the caller: an item's `error`, or a whole answer
SettingsError         a setting that cannot be used: the process ends with its text
salver.artifact       ImageError becomes a ScoringError in `service.scoring.scorer`; ModelFileError ends the process
"""

from typing import Literal, NamedTuple, NotRequired

from typing_extensions import TypedDict

from salver.errors import SalverError

Kind = Literal[
    "malformed-json",
    "unauthorised",
    "payload-too-large",
    "image-too-large",
    "unsupported-media-type",
    "invalid-request",
    "undecodable-image",
    "url-refused",
    "url-failed",
    "overloaded",
    "inference-failed",
    "internal",
    "not-ready",
    "deadline-exceeded",
]


class Row(NamedTuple):
    status: int
    title: str


KINDS: dict[Kind, Row] = {
    "malformed-json": Row(400, "The body is not JSON"),
    "unauthorised": Row(401, "A valid key is needed"),
    "payload-too-large": Row(413, "The request body is too large"),
    "image-too-large": Row(413, "The image is too large"),
    "unsupported-media-type": Row(415, "The Content-Type is not one that is read here"),
    "invalid-request": Row(422, "The request does not have the documented form"),
    "undecodable-image": Row(422, "The image cannot be decoded"),
    "url-refused": Row(422, "The image URL may not be fetched"),
    "url-failed": Row(424, "The image URL could not be fetched"),
    "overloaded": Row(429, "The service has as much work as it can hold"),
    "inference-failed": Row(500, "The model gave no usable scores"),
    "internal": Row(500, "The service failed"),
    "not-ready": Row(503, "The service is not ready"),
    "deadline-exceeded": Row(504, "The request took too long"),
}


class SettingsError(SalverError):
    """A setting that cannot be used; its text names the variable and what to do."""


class Problem(TypedDict):
    """One error as JSON; a whole answer (RFC 9457) adds `status`, and `errors` when items failed one by one."""

    type: str
    title: str
    detail: str
    status: NotRequired[int]
    errors: NotRequired[list["IndexedProblem"]]


class IndexedProblem(TypedDict):
    index: int
    type: str
    title: str
    detail: str


class ScoringError(SalverError):
    """One of the closed set, with a sentence for the caller that says what was wrong and what to do."""

    def __init__(self, kind: Kind, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.detail = detail
        self.headers = headers or {}

    @property
    def status(self) -> int:
        return KINDS[self.kind].status

    def problem(self) -> Problem:
        return {"type": f"urn:salver:{self.kind}", "title": KINDS[self.kind].title, "detail": self.detail}


def overloaded(detail: str, retry_after_seconds: int = 1) -> ScoringError:
    """The error that asks the caller to come back later, and says when."""
    return ScoringError("overloaded", detail, {"Retry-After": str(retry_after_seconds)})


def out_of_memory() -> ScoringError:
    """A MemoryError as an answer. It passes, and is not the caller's fault."""
    return overloaded("There is no memory for this right now: try again later.")


INTERNAL = "The service failed on this image; the reason is in its log."
