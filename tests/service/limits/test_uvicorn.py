"""uvicorn's private parts that the service stands on: who raises its bound in pyproject.toml looks at these."""

import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import uvicorn
from packaging.requirements import Requirement
from packaging.version import Version
from uvicorn._types import ASGISendEvent  # noqa: F401  # the type of what an answer is made of
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.limits.connection import Cycle, Flow, Protocol
from service.server import Server

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
OVERRIDDEN = {
    (uvicorn.Server, Server): {"run", "handle_exit", "on_tick"},
    (FlowControl, Flow): {"resume_reading"},
    (RequestResponseCycle, Cycle): {"send"},
    (HttpToolsProtocol, Protocol): {
        *("connection_made", "connection_lost", "data_received", "shutdown"),
        *("on_message_begin", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete"),
    },
}
USED_OF_A_CONNECTION = {
    *("access_log", "access_logger", "app", "expect_100_continue", "flow", "headers", "logger", "loop", "parser"),
    *("scope", "server_state", "transport", "url"),
}
GIVEN_TO_A_CYCLE = {
    *("scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event"),
    *("expect_100_continue", "keep_alive", "on_response"),
}
USED_OF_A_CYCLE = {"disconnected", "flow", "keep_alive", "message_event", "response_complete", "response_started"}
USED_OF_A_SERVER = {"should_exit", "servers", "server_state"}
USED_OF_THE_STATE = {"connections", "default_headers", "total_requests"}


def test_the_next_minor_version_of_uvicorn_is_not_taken_unseen() -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    (bound,) = (Requirement(line) for line in extras["serve-common"] if line.startswith("uvicorn"))
    installed = Version(version("uvicorn"))
    assert installed in bound.specifier
    assert f"{installed.major}.{installed.minor + 1}.0" not in bound.specifier


@pytest.mark.parametrize(("theirs", "ours"), OVERRIDDEN)
def test_every_method_that_is_overridden_is_there_and_takes_the_same(theirs: type, ours: type) -> None:
    names = OVERRIDDEN[theirs, ours]
    assert names == {name for name in vars(ours) if name in vars(theirs) and inspect.isfunction(vars(ours)[name])} - {
        "__init__"
    }
    for name in names:
        assert list(inspect.signature(getattr(theirs, name)).parameters) == list(
            inspect.signature(getattr(ours, name)).parameters
        )


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (HttpToolsProtocol, USED_OF_A_CONNECTION),
        (RequestResponseCycle, USED_OF_A_CYCLE),
        (uvicorn.Server, USED_OF_A_SERVER),
        (ServerState, USED_OF_THE_STATE),
    ],
)
def test_every_attribute_that_is_used_is_set_there(kind: type, names: set[str]) -> None:
    source = inspect.getsource(kind)
    assert {name for name in names if not re.search(rf"self\.{name}\b[^=\n]* = ", source)} == set()


def test_a_cycle_takes_what_it_is_given_and_starts_as_a_task() -> None:
    assert set(inspect.signature(RequestResponseCycle).parameters) == GIVEN_TO_A_CYCLE
    assert list(inspect.signature(HttpToolsProtocol._start_asgi_task).parameters) == ["self", "cycle", "app"]
