"""`fetch SOURCE TARGET [--sha256 HEX]`: copy a file or a folder, each a path or an fsspec URI, one of them a path.

With --sha256 a file stands under its final name only when it is the one that is meant. Exit code 1 and one line when
something is wrong. It runs in the image of k8s/fetch/Dockerfile, which holds the drivers of the usual stores.
"""

import argparse
import hashlib
import logging
import re
import sys
from pathlib import Path
from types import TracebackType

import fsspec
from fsspec.implementations.local import LocalFileSystem

SHA256 = re.compile(r"[0-9a-f]{64}")


def main() -> None:
    """Ends with SystemExit and a line that says why when something is wrong."""
    parser = argparse.ArgumentParser(prog="fetch", description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--sha256")
    arguments = parser.parse_args()
    sys.excepthook = say
    logging.disable()  # some drivers tell what is then raised before, and at length
    if arguments.sha256 is None:
        copy(arguments.source, arguments.target)
    else:
        copy_checked(arguments.source, Path(arguments.target), arguments.sha256)


def copy(source: str, target: str) -> None:
    """A file, or a folder with what is in it."""
    files, path = fsspec.url_to_fs(source)
    others, other_path = fsspec.url_to_fs(target)
    if not files.exists(path):
        sys.exit(f"There is nothing at {source}: look for a slip in its name, or for rights that are missing.")
    folder = files.isdir(path)
    if folder:  # with a slash at the end the content is meant, not the folder itself
        path, other_path = path.rstrip("/") + "/", other_path.rstrip("/") + "/"
    if isinstance(others, LocalFileSystem):
        files.get(path, other_path, recursive=folder)
    elif isinstance(files, LocalFileSystem):
        others.put(path, other_path, recursive=folder)
    else:
        sys.exit(f"{source} and {target} are both far away: one of them has to be a path.")


def copy_checked(source: str, target: Path, wanted: str) -> None:
    """A file whose sha256 is known; nothing stands under the final name before it is checked."""
    if not SHA256.fullmatch(wanted.lower()):
        sys.exit(f"'{wanted}' is no sha256: give the 64 hexadecimal digits that `sha256sum` prints.")
    part = target.with_name(target.name + ".part")
    try:
        found = copied(source, part)
        if found != wanted.lower():
            sys.exit(f"{source} has the sha256 {found}, but {wanted} is wanted: it is another file, or was changed.")
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def copied(source: str, part: Path) -> str:
    """The sha256 of what was copied, in one go: a store over HTTP need not know how to give a file in ranges."""
    files, path = fsspec.url_to_fs(source)
    files.get_file(path, str(part))
    with part.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def say(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """In place of a traceback, because each store's driver raises its own kinds of error."""
    reason = " ".join(str(error).split()) or "it gave no reason"
    sys.stderr.write(f"{sys.argv[1]} cannot be copied: {kind.__name__}: {reason}\n")


if __name__ == "__main__":
    main()
