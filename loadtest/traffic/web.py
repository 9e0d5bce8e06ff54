"""Whether a host can be reached: this machine directly, any other as the environment's proxy and certificates say."""

from loadtest.errors import LoadTestError
from salver.errors import VariableError
from salver.system.certificates import own_certificates
from salver.system.proxy import proxy_for


def check_way_to(url: str) -> None:
    """Raises LoadTestError when what the environment names for a URL cannot be used by Locust."""
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
