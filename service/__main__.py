"""`python -m service --host HOST --port PORT`: settings in, a listening process out.

Exit codes: 0 after SIGTERM or Ctrl-C and a drain, 1 when the model cannot be served, 2 when a setting is wrong.
"""

import argparse
import ipaddress
import logging
import math
import signal
import sys
import time
from types import FrameType

import uvicorn
from typing_extensions import override

from service.app import create_app
from service.errors import SettingsError
from service.keys import Keys, read_keys
from service.logs import configure_logs
from service.settings import Settings, read_settings

log = logging.getLogger("salver.service")

NO_MODEL, WRONG_SETTING = 1, 2
IDLE_SECONDS = 75  # longer than the idle time of the usual load balancers, so that they close first


class Server(uvicorn.Server):
    """uvicorn, but on SIGTERM it first goes on serving while the endpoint is taken off, then drains and exits 0."""

    def __init__(self, settings: Settings, keys: Keys, host: str, port: int) -> None:
        self.failed = False
        self._drained_at = math.inf
        self._drain_seconds = settings.drain_seconds
        self._app = create_app(settings, keys, self._fail)
        super().__init__(
            uvicorn.Config(
                self._app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="on",
                server_header=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=int(settings.request_timeout_seconds) + 1,
            )
        )

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C, or a second signal, ends at once; SIGTERM drains."""
        service = self._app.state.service
        if sig != signal.SIGTERM or service.status != "ready":
            self.should_exit = True
            return
        service.drain()
        log.info("SIGTERM: serving %g seconds more while load balancers take this replica off", self._drain_seconds)
        self._drained_at = time.monotonic() + self._drain_seconds

    @override
    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; True ends the serving."""
        return await super().on_tick(counter) or time.monotonic() >= self._drained_at

    def _fail(self) -> None:
        self.failed = True
        self.should_exit = True


def run(host: str, port: int) -> int:
    """Serve until told to stop, with the settings in the environment; returns the exit code.

    What is wrong with a setting is said in one line on standard error.
    """
    try:
        settings = read_settings()
        configure_logs(settings.log_format)
        keys = read_keys(settings)
        _check_exposure(settings, keys, host)
        server = Server(settings, keys, host, port)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  # logging may not be set up yet
        return WRONG_SETTING
    log.info("loading %s; listening on http://%s:%d", settings.model, host, port)
    server.run()
    return NO_MODEL if server.failed else 0


def _check_exposure(settings: Settings, keys: Keys, host: str) -> None:
    if keys:
        return
    if not _is_loopback(host) and not settings.allow_anonymous:
        raise SettingsError(
            f"Without a key the service listens on loopback only, not on {host}: set SALVER_API_KEYS_FILE or "
            "SALVER_API_KEYS, or SALVER_ALLOW_ANONYMOUS=true to let everyone score."
        )
    log.warning("no key is configured: everyone who reaches %s can score images", host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> int:
    """The command line of `python -m service`."""
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    arguments = parser.parse_args()
    return run(arguments.host, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
