"""What the scoring API answers instead of a score: a closed set, and the one table that gives each its status.

ScoringError          one of the kinds below, with a sentence for the caller: an item's `error`, or a whole answer
SettingsError         a setting that cannot be used: the process ends with its text
artifact.errors       ImageError is turned into a ScoringError here; ModelFileError ends the process
service.fetch         UrlRefused, UrlFailed and UrlTooLarge are turned into ScoringErrors here
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, NotRequired, ParamSpec, TypeVar

from typing_extensions import TypedDict

from salver.artifact.errors import DecodingUnavailable, ImageError, ImageTooLarge
from salver.errors import SalverError
from service.fetch.fetcher import UrlFailed, UrlRefused, UrlTooLarge

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

log = logging.getLogger("salver.service")

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


@contextmanager
def as_scoring_errors() -> Iterator[None]:
    """Turn what decoding and fetching raise into the closed set."""
    try:
        yield
    except ImageTooLarge as error:
        raise ScoringError("image-too-large", str(error)) from error
    except ImageError as error:
        raise ScoringError("undecodable-image", str(error)) from error
    except DecodingUnavailable as error:
        raise overloaded(f"{error} Try again later.") from error
    except UrlRefused as error:
        raise ScoringError("url-refused", str(error)) from error
    except UrlTooLarge as error:
        raise ScoringError("image-too-large", str(error)) from error
    except UrlFailed as error:
        raise ScoringError("url-failed", str(error)) from error


INTERNAL = "The service failed on this image; the reason is in its log."


def attempt(
    action: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result | ScoringError:
    """Run one image's work: whatever goes wrong is that image's own error and never ends a scoring thread."""
    try:
        with as_scoring_errors():
            return action(*args, **kwargs)
    except ScoringError as error:
        # Its traceback would hold every frame, and with them the image, until Python looks for circles.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
    except MemoryError:
        return out_of_memory()
    except Exception:
        log.exception("scoring an image failed")
        return ScoringError("internal", INTERNAL)


def outcome(action: Callable[[], Result]) -> Result | Exception:
    """What it gives or raises, as a value for whoever waits on another thread."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001  # nothing is hidden: it is handed on
        return error
