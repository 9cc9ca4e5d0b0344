"""Answers that come before the end of a request's body, as refusals do."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LINGER_SECONDS = 5.0
_ANNOUNCING = {b"content-length", b"transfer-encoding"}


class UnreadBodies:
    """Read on behind an answer until the body ends or its sender leaves, for a few seconds.

    A connection that is closed on unread data is reset, and what is on its way is lost: a proxy
    would tell its client of a bad gateway in place of the refusal.

    Parameters
    ----------
    app : ASGI application
        Application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests on, and hold the end of an answer back while the body comes."""
        if scope["type"] != "http" or not _ANNOUNCING & {name for name, _ in scope["headers"]}:
            return await self._app(scope, receive, send)
        is_over = is_held = False

        async def receive_noting() -> Message:
            nonlocal is_over
            message = await receive()
            is_over = is_over or not message.get("more_body", False)
            return message

        async def send_without_end(message: Message) -> None:
            nonlocal is_held
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            is_held = is_last and not is_over
            await send({**message, "more_body": True} if is_held else message)

        await self._app(scope, receive_noting, send_without_end)
        if is_held:
            # Cancelled: the server ends now, and the answer is out.
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    while not is_over:
                        await receive_noting()
            await send({"type": "http.response.body"})
