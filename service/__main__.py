"""`salver serve MODEL` and `python -m service --host HOST --port PORT`: settings in, a listening process out.

Exit codes: 0 after SIGTERM or Ctrl-C and a drain, 1 when the model cannot be served, 2 when a setting is wrong.
"""

import argparse
import logging
import os
import sys
from typing import Annotated

import typer

from salver.system.allocator import bound_arenas
from service.errors import SettingsError
from service.limits.hosts import is_loopback, plain_host, shown_address
from service.limits.request import Keys, read_keys
from service.server import Server
from service.settings import PREFIX, Settings, read_settings
from service.telemetry.logs import configure_logs

log = logging.getLogger("salver.service")

NO_MODEL, WRONG_SETTING = 1, 2
SWITCH_SECONDS = 0.001
"""How long a scoring thread may run Python before the event loop has its turn; Python's own 5 ms are felt there."""


def run(host: str, port: int) -> int:
    """Serve until told to stop, with the settings in the environment; returns the exit code.

    What is wrong with a setting is said in one line on standard error.
    """
    bound_arenas()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        settings = read_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  # in which form to log is a setting
        return WRONG_SETTING
    configure_logs(settings.log_format)
    host = plain_host(host)
    try:
        keys = read_keys(settings)
        _check_exposure(settings, keys, host)
        server = Server(settings, keys, host, port)
    except SettingsError as error:
        log.error("%s", error)
        return WRONG_SETTING
    log.info("listening on %s; loading %s", shown_address(host, server.port), settings.model)
    server.run()
    return NO_MODEL if server.failed else 0


def _check_exposure(settings: Settings, keys: Keys, host: str) -> None:
    if keys or not host:  # nothing listens on an empty one
        return
    if not is_loopback(host) and not settings.allow_anonymous:
        raise SettingsError(
            f"Without a key the service listens on loopback only, not on '{host}': set SALVER_API_KEYS_FILE or "
            "SALVER_API_KEYS, or SALVER_ALLOW_ANONYMOUS=true to let everyone score."
        )
    log.warning("no key is configured: everyone who reaches %s can score images", host)


def serve(
    model: Annotated[str, typer.Argument(help="Path or fsspec URI of model.onnx.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve a model file over HTTP: POST /score, GET /model, /healthz, /readyz, /docs.

    Other settings are environment variables with the prefix SALVER_, such as SALVER_API_KEYS_FILE.
    """
    os.environ[f"{PREFIX}MODEL"] = model
    raise typer.Exit(run(host, port))


def main() -> int:
    """The command line of `python -m service`."""
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    arguments = parser.parse_args()
    return run(arguments.host, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
