"""The certificates that vouch for the https servers of image URLs: certifi's, or those that the environment names."""

import os
import re
import ssl
from contextlib import suppress
from pathlib import Path

import httpx

from artifact.regular_file import read_regular
from service.errors import SettingsError

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
MAX_BYTES = 64 * 1024**2
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
"""What OpenSSL looks for in a folder, as `openssl rehash` names it."""


def trusted_roots() -> ssl.SSLContext:
    """Raises SettingsError naming a variable that leads to no certificates: nobody would be trusted, or others."""
    file, folder = os.environ.get(FILE), os.environ.get(FOLDER)
    if file:
        return _of_file(file)
    if folder:
        return _of_folder(folder)
    return httpx.create_ssl_context(trust_env=False)


def _of_file(file: str) -> ssl.SSLContext:
    try:
        read_regular(file, MAX_BYTES)
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise _refusal(FILE, f"'{file}' holds no certificates in PEM form") from None
    except OSError as error:
        raise _refusal(FILE, f"'{file}' cannot be read ({error.strerror})") from None


def _of_folder(folders: str) -> ssl.SSLContext:
    """Several folders, too, as OpenSSL reads the variable; it says nothing of one that is not there."""
    names: list[str] = []
    for folder in filter(None, folders.split(os.pathsep)):
        with suppress(OSError):
            names += [path.name for path in Path(folder).iterdir()]
    if not any(map(HASHED.fullmatch, names)):
        fault = f"'{folders}' holds no certificates that can be read, under the names that 'openssl rehash' gives them"
        raise _refusal(FOLDER, fault)
    return ssl.create_default_context(capath=folders)


def _refusal(name: str, fault: str) -> SettingsError:
    return SettingsError(
        f"{name}: {fault}. Correct it, unset it, or set SALVER_URL_FETCH=off: without it no https URL can be checked."
    )
