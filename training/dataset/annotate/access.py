"""Who may use the annotation page.

Another site's page can make a browser send requests here. So a request needs the cookie that the token was exchanged
for (SameSite=Strict), the right Host (against DNS rebinding) and, when it changes something, the right Origin.
"""

import secrets

from fastapi import Request, Response
from fastapi.responses import RedirectResponse


class Access:
    """`token` is good for one browser, which gets a cookie for it."""

    def __init__(self, token: str, port: int) -> None:
        self._token: str | None = token
        self._pass = secrets.token_urlsafe(24)
        self._cookie = f"salver-{port}"  # Cookies know no ports: two pages at once must not throw each other out.
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    def refuse(self, request: Request) -> Response | None:
        """None for a request that may go on. Everybody may ask for `/`, which calls `enter`."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if host not in self._hosts:
            return _refusal("This page answers under 127.0.0.1 only.")
        if request.method not in ("GET", "HEAD") and origin != f"http://{host}":
            return _refusal("Another site may not change annotations.")
        if request.url.path == "/" or self._known(request):
            return None
        return _refusal("Open the address that 'salver annotate' printed.")

    def enter(self, request: Request) -> Response | None:
        """A redirect that spends the token, a refusal for who is not known, or None to go on to the page."""
        given = request.query_params.get("token")
        if given and self._token and secrets.compare_digest(given.encode(), self._token.encode()):
            self._token = None
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._cookie, self._pass, httponly=True, samesite="strict")
            return answer
        if self._known(request):
            return RedirectResponse("/", 303) if given else None
        return _refusal("The address works once. Start 'salver annotate' again for a new one.")

    def _known(self, request: Request) -> bool:
        return secrets.compare_digest(request.cookies.get(self._cookie, "").encode(), self._pass.encode())


def _refusal(text: str) -> Response:
    return Response(text, 403, media_type="text/plain")
