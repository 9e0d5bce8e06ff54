"""`/score` ahead of FastAPI's and Starlette's routing, which cost as much as all of ours."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.score import score
from service.errors import ScoringError
from service.limits.hosts import LOCAL_ONLY, is_local

SCORE_PATH = "/score"

ErrorHandlers = Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]


class Front:
    """Middleware that answers `/score`, with the application's own error handlers; all else goes on to `app`.

    HEAD, which monitors ask with, is answered as GET is, without the body. With `local_only`, requests to other hosts
    than this machine's loopback are refused before anything else.
    """

    def __init__(self, app: ASGIApp, handlers: ErrorHandlers, local_only: bool) -> None:
        self._app = app
        self._handlers = handlers
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        foreign = self._local_only and scope["type"] == "http" and not is_local(scope["headers"])
        if not foreign and (scope["type"] != "http" or scope["path"] != SCORE_PATH):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if foreign:
            response = await self._handlers[HTTPException](request, HTTPException(421, LOCAL_ONLY))
            await response(scope, receive, send)
            return
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            if request.method != "POST":
                raise HTTPException(405, headers={"Allow": "POST"})
            return await score(request)
        except (ScoringError, HTTPException, ClientDisconnect, MemoryError) as error:
            # By the nearest kind above it, as Starlette does: numpy's own MemoryError is a subclass.
            handler = next(self._handlers[kind] for kind in type(error).__mro__ if kind in self._handlers)
            return await handler(request, error)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head
