"""Proxies in front: the path under which they show the server, and for whom they speak."""

import ipaddress
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """Serve under a path, whether the proxy in front strips it off or not.

    Parameters
    ----------
    app : ASGI application
        Application behind it.
    root_path : str
        Like ``/ser``; empty: none.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the path right, as ASGI wants it: with the root in it."""
        root = self._root_path
        if root and scope["type"] != "lifespan":
            path = scope["path"]
            is_stripped = not f"{path}/".startswith(f"{root}/")
            scope["root_path"], scope["path"] = root, root + path if is_stripped else path
        await self._app(scope, receive, send)


def route_path(scope: Scope) -> str:
    """Return the path of a request without the root under which a proxy shows the server."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def with_mapped(proxies: Iterable[str]) -> list[str]:
    """Return addresses and networks, and what those of IPv4 are called on a socket of IPv6."""
    networks = [ipaddress.ip_network(proxy) for proxy in proxies]
    mapped = [f"::ffff:{n.network_address}/{96 + n.prefixlen}" for n in networks if n.version == 4]
    return [*map(str, networks), *mapped]
