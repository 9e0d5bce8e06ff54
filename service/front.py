"""The way of `/score` past FastAPI's layers, which cost as much as all of ours; Starlette's remain."""

from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.routing import Route
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from service.score import score

SCORE_PATH = "/score"

ErrorHandlers = dict[int | type[Exception], ExceptionHandler]


class Front:
    """Sends `/score` to an application of its own, with the same state and error handlers, and all else to `others`."""

    def __init__(self, others: ASGIApp, state: State, handlers: ErrorHandlers) -> None:
        self._others = others
        self._score = Starlette(routes=[Route(SCORE_PATH, score, methods=["POST"])], exception_handlers=handlers)
        self._score.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        score_it = scope["type"] == "http" and scope["path"] == SCORE_PATH
        await (self._score if score_it else self._others)(scope, receive, send)
