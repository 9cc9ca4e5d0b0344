"""Access: host, origin and token of every request, and security headers for browsers."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_live.server.problems import ProblemError
from ser_live.server.proxies import route_path
from ser_live.server.settings import Settings
from ser_live.server.tokens import Tokens
from ser_live.text import quoted

# A browser cannot set headers of a WebSocket, but it can offer subprotocols.
_TOKEN_PROTOCOL = "bearer."
# A head has room for thousands, and each is compared with each token.
_MOST_OFFERED = 4
GUARDED = ("/v1/", "/metrics")
"""Beginnings of paths that ask for a token."""
_HEALTH = ("/healthz", "/readyz")
_PORTS = {"http": 80, "https": 443}
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; media-src 'self' blob:; worker-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Access:
    """Check host, origin and token before anything else happens, streams included.

    Parameters
    ----------
    app : ASGI application
        Application behind it.
    settings : Settings
        Host names and origins that are let in.
    tokens : Tokens
        Of which a client must show one, if there are any.
    """

    def __init__(self, app: ASGIApp, settings: Settings, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens
        self._origins = frozenset(settings.origins)
        own = (*_LOOPBACK_NAMES, settings.host) if settings.is_loopback else ()
        # Where a token is asked for anyway, any name will do: no page can guess the token.
        is_open = not settings.is_loopback and not settings.hosts
        self._hosts = None if is_open else frozenset((*own, *settings.hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through or answer with the problem."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        try:
            self._check(scope)
        except ProblemError as problem:
            return await problem.response(scope)(scope, receive, _with_security(send))
        await self._app(scope, receive, _with_security(send))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        # A page may let its own name resolve to this machine (DNS rebinding); then origin and host
        # agree, and only the name gives it away.
        host = headers.get("host", "")
        # A monitor knows an address alone.
        hosts = None if route_path(scope) in _HEALTH else self._hosts
        if hosts is not None and _place(host)[0] not in hosts:
            raise ProblemError(
                403,
                f"the server is not known as {quoted(host)}; ask for it under the name it printed, "
                "or start it with --allow-host",
                code="host",
            )
        # What follows guards no files of the page: with these, it can say what is refused.
        if not route_path(scope).startswith(GUARDED):
            return
        # The same-origin policy does not hold for WebSockets, nor for requests that are only sent.
        origin = headers.get("origin")
        is_known = origin is None or origin in self._origins
        if not is_known and not _is_same(origin or "", host, scope["scheme"]):
            raise ProblemError(
                403,
                f"pages of {quoted(origin)} may not connect, the server was asked for as "
                f"{quoted(host)}; start it with --origin, or let the proxy in front keep Host",
                code="origin",
            )
        if self._tokens:
            self._check_token(scope, headers)

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        offered = [bearer] if kind.lower() == "bearer" else []
        offered += [
            protocol.removeprefix(_TOKEN_PROTOCOL)
            for protocol in scope.get("subprotocols", ())
            if protocol.startswith(_TOKEN_PROTOCOL)
        ]
        came = "a wrong token" if offered else "no token"
        for secret in offered[:_MOST_OFFERED]:
            if (token := self._tokens.find(secret.strip())) is not None:
                scope["token_name"], scope["limits"] = token.name, token.limits
                return
            if (name := self._tokens.gone_name(secret.strip())) is not None:
                came = "a token that is no longer valid"
                scope["token_name"] = name  # for the log: whose program has to be told
        raise ProblemError(
            401,
            f"{came} came; wanted the header 'Authorization: Bearer TOKEN' with the token that "
            "the server printed or was given (in a browser: the subprotocol bearer.TOKEN)",
        )


def _with_security(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        # Also "websocket.http.response.start": a stream that was refused at the handshake.
        if message["type"].endswith("http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers


def _place(host: str, scheme: str = "") -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname, parts.port or _PORTS.get(scheme)
    except ValueError:
        return None, None


def _is_same(origin: str, host: str, scheme: str) -> bool:
    """Return whether a page came from a host itself.

    A page by http is none of a server by https: anyone on the way could have written it. The other
    way round a proxy has taken https off.
    """
    of_page, _, place = origin.partition("://")
    if of_page not in ("https", scheme.replace("ws", "http")):
        return False
    return place != "" and _place(place, of_page) == _place(host, of_page) != (None, None)
