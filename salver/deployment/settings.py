"""Which of the caller's `SALVER_` variables a deployment's service gets: its settings, and nothing of other rooms."""

import difflib
from collections.abc import Iterator, Mapping

from salver.deployment.target import TargetName

PREFIX = "SALVER_"
HANDED_ON = frozenset(
    {
        *("MODEL_NAME", "MODEL_POLL_SECONDS", "ADMIN_KEYS", "ALLOW_ANONYMOUS", "LOG_FORMAT"),
        *("MAX_ITEMS", "MAX_BODY_BYTES", "MAX_IMAGE_BYTES", "MAX_INFLIGHT_BYTES", "MAX_IMAGE_PIXELS"),
        *("MAX_QUEUE_IMAGES", "RATE_LIMIT_IMAGES_PER_SECOND", "REQUEST_TIMEOUT_SECONDS"),
        *("FAMILIARITY", "REJECT_FOREIGN"),
        *("URL_FETCH", "URL_ALLOWLIST", "URL_MAX_BYTES", "URL_TIMEOUT_SECONDS"),
    }
)
PATHS = frozenset({"ADMIN_KEYS_FILE", "ENGINE_CACHE_DIR"})
"""Settings that name a place of this machine, which a container does not see."""
OWN = {
    "MODEL": "the model is the one that is named",
    "DEVICE": "--device says what scores",
    "API_KEYS": "a deployment has a key of its own",
    "API_KEYS_FILE": "a deployment has a key of its own",
    "DRAIN_SECONDS": "nothing stands before it that would have to hear of its end",
}
"""Settings that deploying makes itself, and why another value is not taken."""
ELSEWHERE: dict[TargetName, str] = {
    "local": "write it in capitals",
    "docker": "a container does not see this machine's files",
    "kubernetes": "a cluster has its own settings, in a ConfigMap",
}
"""Why one of the others is not taken."""


def handed_on(environment: Mapping[str, str], target: TargetName) -> dict[str, str]:
    """The caller's settings for the service, by variable. A cluster's are its own."""
    taken = {"local": HANDED_ON | PATHS, "docker": HANDED_ON, "kubernetes": frozenset[str]()}[target]
    return {name: environment[name] for name in sorted(PREFIX + setting for setting in taken) if name in environment}


def left_out(environment: Mapping[str, str], target: TargetName) -> Iterator[str]:
    """A sentence for each that is meant for a service and not handed on. Values, which can be keys, are not told."""
    taken = handed_on(environment, target)
    reasons = OWN | dict.fromkeys(HANDED_ON | PATHS, ELSEWHERE[target])
    for name in sorted(name for name in environment if _is_ours(name) and name not in taken):
        setting = name.upper().removeprefix(PREFIX)
        if setting in reasons:
            yield f"{name} is not handed on to the service: {reasons[setting]}"
        elif close := difflib.get_close_matches(setting, reasons, n=1, cutoff=0.8):
            yield f"{name} is not handed on to the service: it is no setting; did you mean {PREFIX}{close[0]}?"


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """What is not Salver's."""
    return {name: value for name, value in environment.items() if not _is_ours(name)}


def _is_ours(name: str) -> bool:
    """In any case, as the service reads them."""
    return name.upper().startswith(PREFIX)
