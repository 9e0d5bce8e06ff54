"""Copy the model at MODEL_URI to the path in the first argument, when its sha256 is MODEL_SHA256.

Any fsspec URI whose driver is in the image. Exit code 1 and one line when it cannot be had or is another file.
"""

import hashlib
import os
import sys
from pathlib import Path

import fsspec

CHUNK_BYTES = 1024**2


def main() -> int:
    """Nothing stands under the final name before it is checked."""
    target = Path(sys.argv[1])
    uri, wanted = os.environ.get("MODEL_URI", ""), os.environ.get("MODEL_SHA256", "").strip().lower()
    if not uri or len(wanted) != hashlib.sha256().digest_size * 2:
        return fail("MODEL_URI and MODEL_SHA256 (64 hexadecimal digits) name the model: set both in salver-model.")
    part = target.with_suffix(".part")
    try:
        found = copy(uri, part)
    except (OSError, ImportError, ValueError) as error:
        return fail(f"{uri} cannot be fetched: {type(error).__name__}: {error}")
    if found != wanted:
        part.unlink()
        return fail(f"{uri} has the sha256 {found}, but MODEL_SHA256 is {wanted}: it is another file, or was changed.")
    part.rename(target)
    return 0


def copy(uri: str, part: Path) -> str:
    """The sha256 of what was copied."""
    digest = hashlib.sha256()
    with fsspec.open(uri, "rb") as source, part.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def fail(reason: str) -> int:
    """One line, and the exit code."""
    print(reason, file=sys.stderr)  # noqa: T201  # the pod's log
    return 1


if __name__ == "__main__":
    sys.exit(main())
