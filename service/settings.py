"""The service's settings: environment variables with the prefix `SALVER_`, read once in `service.__main__`.

Of those that name a file which is read again and again: whether it still says what is in force.
"""

import difflib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from salver.text import validation_message
from service.errors import SettingsError
from service.fetch.addresses import Allowlist

log = logging.getLogger("salver.service")

PREFIX = "SALVER_"
ELSEWHERE = frozenset(
    PREFIX + name
    for name in (
        "KEY",  # salver/client/, loadtest/
        *("GOOGLE_ENGINE", "GOOGLE_KEY"),  # of salver build in 0.1.0; some environments still have them
        *(
            "BASE",
            "BASE_IMAGE",
            "BIND",
            "DATA",
            "GPU_PORT",
            "GRAFANA_IMAGE",
            "KEYS",
            "LOAD_P99_MS",
        ),  # docker-compose.yml
        *("LOAD_RUN_TIME", "LOAD_USERS", "PORT", "PROMETHEUS_IMAGE", "TRAIN_CPUS", "WEIGHTS"),
        "TEST_ARTEFACTS",  # tests/
    )
)
"""Other rooms' variables, which may stand in the same environment: read over."""

Positive = Annotated[int, Field(ge=1, le=2**50)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseSettings):
    """One frozen value; the field `max_items` is the variable `SALVER_MAX_ITEMS`, and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    model: str
    """Path or fsspec URI of `model.onnx`."""
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=253)] = "salver"
    """The name in `GET /model` and in the addresses of the Open Inference Protocol; KServe: the InferenceService's."""
    model_poll_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """How often to look whether the model file changed, and to serve the new one; 0 is never."""
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """`auto` takes a GPU when there is one and says what it took; `cuda` and `tensorrt` fail without one."""
    engine_cache_dir: Path | None = None
    """Where TensorRT's engines are kept; ~/.cache/salver/engines unless named."""
    api_keys: str | None = None
    """Comma-separated keys that callers send as `Authorization: Bearer KEY`."""
    api_keys_file: Path | None = None
    """A file with one key a line, read again when it changes; lines that begin with # are comments."""
    admin_keys: str | None = None
    """Comma-separated keys for `POST /model/reload`, which without one is not there."""
    admin_keys_file: Path | None = None
    """A file with one such key a line, read again when it changes."""
    allow_anonymous: bool = False
    """True: without a key, listen on other addresses than loopback too, and answer whatever the header Host says."""
    max_items: Positive = 64
    """Most images in one request."""
    max_body_bytes: Positive = 32 * 1024**2
    """Longest request body in bytes."""
    max_image_bytes: Positive = 20 * 1024**2
    """Longest image file in bytes, inside a request."""
    max_inflight_bytes: Positive | None = None
    """Most bytes that the bodies, fetched images and unsent answers of all requests hold at once; one more is answered
    429. Unset: a
    quarter of the container's memory, at most 256 MiB and at least MAX_BODY_BYTES."""
    max_image_pixels: Annotated[int, Field(ge=1, le=178_000_000)] = 50_000_000
    """Most pixels that an image's header may state; Pillow's own limit lies at 178,956,970. What the container's memory
    leaves each scoring thread bounds them, too, by format: docs/operations.md has the numbers, the log says them."""
    max_queue_images: Positive = 256
    """Most images that wait or are being scored; one more is answered 429."""
    rate_limit_images_per_second: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Most images that one key may have scored a second; more are answered 429."""
    request_timeout_seconds: Seconds = 30.0
    """Longest time from the request's head to its answer."""
    url_fetch: Literal["public", "allowlist", "off"] = "public"
    """Which image URLs are fetched: of public addresses, of the allow-list only, or none."""
    url_allowlist: str = ""
    """Comma-separated host names, addresses and networks that are fetched from, private or not, in `public` too."""
    url_max_bytes: Positive = 20 * 1024**2
    """Longest image fetched from a URL, in bytes."""
    url_timeout_seconds: Seconds = 10.0
    """Longest time for one image URL, redirects included."""
    familiarity: bool = False
    """True: every answer of `/score` says how familiar the image is; a model file that cannot is not served."""
    reject_foreign: bool = False
    """True: an image that is unlike the training photos is answered without a label; a model file that cannot tell is
    not served."""
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0
    """After SIGTERM: how long to go on accepting requests while load balancers take this replica off."""
    log_format: Literal["json", "text"] = "json"
    """The form of the lines on standard error."""

    @field_validator("url_allowlist")
    @classmethod
    def _allowlist_is_valid(cls, text: str) -> str:
        Allowlist.parse(_entries(text))
        return text

    @model_validator(mode="after")
    def _queue_holds_a_list(self) -> "Settings":
        if self.max_queue_images < self.max_items:
            raise ValueError(
                f"MAX_QUEUE_IMAGES ({self.max_queue_images}) is less than MAX_ITEMS ({self.max_items}): "
                "a full list would never be accepted"
            )
        return self

    @model_validator(mode="after")
    def _memory_holds_a_body(self) -> "Settings":
        if self.max_inflight_bytes is not None and self.max_inflight_bytes < self.max_body_bytes:
            raise ValueError(
                f"MAX_INFLIGHT_BYTES ({self.max_inflight_bytes}) is less than MAX_BODY_BYTES ({self.max_body_bytes}): "
                "the longest body would never be accepted"
            )
        return self

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """The entries of `url_allowlist`."""
        return _entries(self.url_allowlist)


def _entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def read_settings() -> Settings:
    """The settings in the environment. Raises SettingsError naming a misspelt, missing or wrong variable."""
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known | ELSEWHERE:
            raise SettingsError(f"{name} is not a setting: {_suggestion(name, known | ELSEWHERE)}")
    try:
        return Settings()  # type: ignore[call-arg]  # pydantic-settings fills it from the environment
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "The settings contradict each other"
        raise SettingsError(f"{name}: {validation_message(first['msg'])}.") from None


def _suggestion(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    if close:
        return f"did you mean {close[0]}?"
    return "unset it (a Kubernetes Service named salver sets such names unless enableServiceLinks is false)."


class Freshness:
    """Whether what is in force is still what a setting's file holds: for the log, `/readyz` and `/metrics`.

    Of one file that is looked at again and again. Times are the monotonic clock's, in seconds.
    """

    def __init__(self, setting: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.setting = setting
        """The variable that names the file."""
        self.fault = ""
        """What keeps the file's content from being in force, a reason or a version; empty while it is."""
        self._clock = clock
        self._taken = self._confirmed = clock()

    @property
    def taken_seconds(self) -> float:
        """Since what is in force was taken from the file."""
        return self._clock() - self._taken

    @property
    def confirmed_seconds(self) -> float:
        """Since a look last found in the file what is in force."""
        return self._clock() - self._confirmed

    def take(self) -> None:
        """What the file holds is in force from now on."""
        self._taken = self._clock()
        self.fault = ""
        self.confirm()

    def confirm(self) -> None:
        """A look found in the file what is in force."""
        self._confirmed = self._clock()
        if self.fault:
            log.info("%s holds what is in force again", self.setting)
        self.fault = ""

    def fail(self, fault: str) -> bool:
        """What is in force may not be what the file holds. Whether that fault is news."""
        news, self.fault = fault != self.fault, fault
        return news
