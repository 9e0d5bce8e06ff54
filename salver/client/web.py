"""Connections to a service: past every proxy when it runs on this machine, else through the environment's."""

import re

import httpx

from salver.client.errors import ServiceUnreachable
from salver.errors import VariableError
from salver.system.certificates import no_certificates, own_certificates
from salver.system.proxy import proxy_for

_NUMBER = re.compile(r"\[Errno -?[0-9]+\] ")


class Connections:
    """Kept-alive connections to the host of one URL; close `http`, or use it as a context manager."""

    def __init__(self, url: str, timeout_seconds: float, headers: dict[bytes, bytes] | None = None) -> None:
        """Raises ServiceUnreachable when a proxy or certificates that the environment names cannot be used."""
        try:
            proxy = proxy_for(url)
            over_tls = url.startswith("https://") or (proxy is not None and proxy.scheme == "https")
            own = own_certificates() if over_tls else no_certificates()
        except VariableError as error:
            raise ServiceUnreachable(str(error)) from None
        self.way = "" if proxy is None else f" through the proxy that {proxy.variable} names"
        """For messages; empty for the direct one."""
        over = None
        if proxy is not None:
            over = httpx.Proxy(proxy.url, ssl_context=own if proxy.scheme == "https" else None)
        # trust_env: httpx' own reading of the environment, which knows no loopback.
        self.http = httpx.Client(
            proxy=over, trust_env=False, verify=True if own is None else own, headers=headers, timeout=timeout_seconds
        )


def reason(error: Exception) -> str:
    """Why a connection failed, without the numbers of system errors."""
    return _NUMBER.sub("", str(error)) or type(error).__name__
