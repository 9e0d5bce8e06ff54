"""How a host is reached: this machine directly, any other as the environment's proxy and certificates say."""

import os

import requests

from loadtest.errors import LoadTestError
from salver.errors import VariableError
from salver.system.certificates import FILE, FOLDER, own_certificates
from salver.system.proxy import Proxy, proxy_for


def way_to(url: str) -> Proxy | None:
    """The proxy through which a URL is reached; None for the direct way.

    Raises LoadTestError when what the environment names for it cannot be used.
    """
    try:
        proxy = proxy_for(url)
        if url.startswith("https://"):
            own_certificates()
    except VariableError as error:
        raise LoadTestError(str(error)) from None
    if proxy is not None and proxy.scheme == "https":
        raise LoadTestError(
            f"{proxy.variable} names a proxy that is itself reached over TLS, which Locust cannot do: set it to one of "
            "http://, unset it, or name the host in NO_PROXY."
        )
    return proxy


def get(url: str, timeout_seconds: float) -> requests.Response:
    """The answer to a GET. Raises LoadTestError as `way_to` does, and requests.RequestException."""
    proxy = way_to(url)
    with requests.Session() as session:
        session.trust_env = False  # its own reading of the environment stumbles over some values
        session.verify = os.environ.get(FILE) or os.environ.get(FOLDER) or True
        if proxy is not None:
            session.proxies = {"http": proxy.url, "https": proxy.url}
        return session.get(url, timeout=timeout_seconds)
