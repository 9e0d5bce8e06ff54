"""uvicorn, with an end that loses no request: SIGTERM, serve on, part with the connections, drain, exit 0."""

import errno
import logging
import math
import os
import signal
import socket
import time
from functools import partial
from types import FrameType

import uvicorn
from typing_extensions import override

from service.app import create_app
from service.errors import SettingsError
from service.limits.connection import Protocol
from service.limits.request import Keys
from service.service import Service
from service.settings import Settings

log = logging.getLogger("salver.service")

PARTING_SECONDS = 1.0
EVERY_ADDRESS = "::"
WAITING_CONNECTIONS = 2048
SEND_BUFFER_BYTES = 128 * 1024
"""What the system keeps of a connection's unread answer, which it would let grow to megabytes of the pod's memory."""


class Server(uvicorn.Server):
    """Listens from the moment it is made; `run` serves until it is told to stop."""

    def __init__(self, settings: Settings, keys: Keys, host: str, port: int) -> None:
        """Raises SettingsError when it cannot listen there, or for what `Service` reads."""
        self.failed = False
        """It ended because the model could not be loaded."""
        self._drained_at = math.inf
        self._drain_seconds = settings.drain_seconds
        self.service = Service(settings, keys, self._fail)
        self._sockets = listen(host, port)
        self.port: int = self._sockets[0].getsockname()[1]
        super().__init__(
            uvicorn.Config(
                create_app(self.service, local_only=not keys and not settings.allow_anonymous),
                http=partial(Protocol, answer_seconds=settings.request_timeout_seconds),  # type: ignore[arg-type]  # as good as a class
                log_config=None,
                access_log=False,
                lifespan="on",
                server_header=False,
                proxy_headers=False,
                backlog=WAITING_CONNECTIONS,
                timeout_graceful_shutdown=int(settings.request_timeout_seconds) + 1,
            )
        )

    @override
    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets or self._sockets)

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C, or a second signal, ends at once; SIGTERM drains."""
        if sig != signal.SIGTERM or self.service.status not in ("ready", "failing"):
            self.should_exit = True
            return
        self.service.drain()
        log.info("SIGTERM: serving %g s more while load balancers take this replica off", self._drain_seconds)
        self._drained_at = time.monotonic() + self._drain_seconds

    @override
    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; True ends the serving.

        uvicorn then closes the connections that are idle, and a request on its way to one would be lost. So there is a
        moment in which nothing new connects and what comes is answered, with Connection: close.
        """
        ends = await super().on_tick(counter)
        overdue_seconds = time.monotonic() - self._drained_at
        if overdue_seconds < 0:
            return ends
        for server in self.servers:
            server.close()
        return ends or not self.server_state.connections or overdue_seconds >= PARTING_SECONDS

    def _fail(self) -> None:
        self.failed = True
        self.should_exit = True


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address of the host name that this machine has; with port 0 all have the first one's.

    `::` stands for all addresses of both families, and for IPv4's where there is no IPv6. Raises SettingsError.
    """
    if not 0 <= port <= 65_535:  # getaddrinfo would take the remainder
        raise _refusal(host, port, "a port lies between 0 and 65535")
    if not host:
        raise _refusal(host, port, "no address is named; 127.0.0.1 is this machine alone, and :: all of its addresses")
    listeners: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(_existing(host), port, type=socket.SOCK_STREAM):
            listener = _listener(family, (address[0], port, *address[2:]))
            if listener is not None:
                listeners.append(listener)
                port = listener.getsockname()[1]
    except (OSError, UnicodeError) as error:  # UnicodeError: a name with a part that is empty or too long
        for listener in listeners:
            listener.close()
        raise _refusal(host, port, _reason(error)) from error
    if not listeners:
        raise _refusal(host, port, "this machine has no such address")
    return listeners


def _existing(host: str) -> str:
    return "0.0.0.0" if host == EVERY_ADDRESS and not socket.has_dualstack_ipv6() else host  # noqa: S104


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "it is no host name"
    if error.errno is not None and error.errno > 0:  # a name server's numbers lie below
        return os.strerror(error.errno)
    return str(error.strerror)


def _listener(family: int, address: tuple[object, ...]) -> socket.socket | None:
    """None for an address that is not there: "localhost" names IPv6's in containers without IPv6, too."""
    try:
        both = address[0] == EVERY_ADDRESS
        listener = socket.create_server(address, family=family, backlog=WAITING_CONNECTIONS, dualstack_ipv6=both)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # each connection inherits it
        return listener
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise


def _refusal(host: str, port: int, reason: str) -> SettingsError:
    return SettingsError(
        f"Cannot listen on {host or 'an empty host'}, port {port}: {reason}. Choose others with --host and --port."
    )
