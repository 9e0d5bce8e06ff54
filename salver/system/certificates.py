"""The certificates that a person wants believed instead of those that come along: SSL_CERT_FILE and SSL_CERT_DIR."""

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from salver.errors import VariableError
from salver.system.regular_file import open_regular

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""Under such names OpenSSL looks for a certificate in a folder."""


def own_certificates(environment: Mapping[str, str] | None = None) -> ssl.SSLContext | None:
    """What checks a server by them; None when neither variable is set. Where both are, the file counts.

    Read it only for what goes over TLS: nothing else needs a certificate. Raises VariableError when there is none to be
    read; the text names the variable.
    """
    environment = os.environ if environment is None else environment
    if file := environment.get(FILE):
        return _of_file(file)
    if folders := environment.get(FOLDER):
        return _of_folders(folders)
    return None


def no_certificates() -> ssl.SSLContext:
    """For what does not go over TLS: it believes nobody, and reads nothing."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _of_file(file: str) -> ssl.SSLContext:
    try:
        open_regular(file).close()  # a pipe would be waited for
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise VariableError(
            f"{FILE} names {file}, which holds no certificates that can be read: correct it, or unset it."
        ) from None
    except (OSError, ValueError) as error:
        raise _unread(FILE, file, error) from None


def _of_folders(folders: str) -> ssl.SSLContext:
    fault = VariableError(f"{FOLDER} names no folder: correct it, or unset it.")
    for folder in filter(None, folders.split(os.pathsep)):
        try:
            if any(_HASHED.fullmatch(path.name) for path in Path(folder).iterdir()):
                return ssl.create_default_context(capath=folders)
        except (OSError, ValueError) as error:
            fault = _unread(FOLDER, folder, error)
        else:
            fault = VariableError(
                f"{FOLDER} names {folder}, in which no certificate has the name that OpenSSL looks for: run  openssl "
                f"rehash {folder}  , or correct it, or unset it."
            )
    raise fault


def _unread(variable: str, path: str, error: OSError | ValueError) -> VariableError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return VariableError(f"{variable} names {path}, which cannot be read ({reason}): correct it, or unset it.")
