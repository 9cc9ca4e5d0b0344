"""The application: HTTP with its OpenAPI document, streams, and the page."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import WebSocketRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ser_live import __version__
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.errors import SerError
from ser_live.model.prior import PriorName, prior_name
from ser_live.server import messages
from ser_live.server.access import Access
from ser_live.server.engine import Engine
from ser_live.server.models import Models
from ser_live.server.observability import Metrics, Requests, logger
from ser_live.server.openapi import LINE_REF, completed, problems
from ser_live.server.page_files import PageFiles
from ser_live.server.problems import ProblemError, on_failure, on_http, on_invalid
from ser_live.server.proxies import RootPath, with_mapped
from ser_live.server.recording_endpoint import LINES, Recognition, Recordings
from ser_live.server.settings import Settings
from ser_live.server.stream_endpoint import StreamEndpoint
from ser_live.server.streams import Streams
from ser_live.server.tokens import Tokens
from ser_live.server.unread_bodies import UnreadBodies

_SCHEMA = "application/schema+json"
_DESCRIPTION = """\
Emotion in speech. Recordings go to `POST /v1/recognize`; live audio goes to the WebSocket
`/v1/stream`, whose messages are described by `GET /v1/schema`."""


class Status(BaseModel):
    """State of the server."""

    status: str


class ServedModel(BaseModel):
    """Model that may be asked for by its name."""

    name: str
    labels: messages.Labels
    licence: str
    description: str
    window_seconds: float
    prior: PriorName
    """Unless a client asks for another."""
    default: bool


class ServeApp(FastAPI):
    """The application that `create_app` makes, for any ASGI server.

    Its lifespan starts the engine, and closes it. Most servers end the lifespan after they have
    shut the connections, so a drain has to begin before: see `begin_drain`.
    """

    settings: Settings
    streams: Streams
    is_ready = False
    """The engine runs and has been tried."""
    _loop: asyncio.AbstractEventLoop | None = None
    _drained: Future[None] | None = None

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the HTTP part."""
        if self.openapi_schema is None:
            completed(super().openapi(), is_guarded=self.settings.is_guarded)
        return super().openapi()

    def begin_drain(self, seconds: float | None = None) -> Future[None]:
        """Begin to stop; from any thread, and again without effect.

        `/readyz` gives 503 at once. After `Settings.drain_delay` streams and recordings are
        refused, and open streams are told; those that have not ended by themselves after so many
        seconds are flushed and ended.

        Parameters
        ----------
        seconds : float or None
            For open streams; None: `Settings.drain_seconds`.

        Returns
        -------
        concurrent.futures.Future
            Done when all streams have ended; `asyncio.wrap_future` makes it awaitable.
        """
        if self._drained is None:
            self.streams.is_stopping = True
            seconds = self.settings.drain_seconds if seconds is None else seconds
            if self._loop is None:  # nothing runs yet
                self._drained = Future()
                self._drained.set_result(None)
            else:
                self._drained = asyncio.run_coroutine_threadsafe(
                    self.streams.drain(self.settings.drain_delay, seconds), self._loop
                )
        return self._drained


def create_app(settings: Settings | None = None) -> ServeApp:
    """Make the application, in the process that serves it; the default model is loaded now.

    Parameters
    ----------
    settings : Settings or None
        Access, limits and models; None: `Settings.from_environment()`.

    Raises
    ------
    SerError
        If a model cannot be loaded or an option makes no sense.
    """
    settings = Settings.from_environment() if settings is None else settings
    tokens, models, metrics = Tokens(settings), Models(settings.models), Metrics()
    models.load_default()
    asked = None if settings.models else settings.asked_streams
    if asked and (chosen := models.make_default_carry(asked)):
        logger.warning("light model", extra={"detail": chosen})
    engine = Engine(on_batch=metrics.count_batch)
    streams = Streams(settings.limits, engine, models, metrics)
    metrics.tell_build(models.default, settings.limits)
    metrics.show("ser_engine_busy_share", "Of the last seconds", lambda: engine.busy_share)
    metrics.show("ser_engine_queue_seconds", "Age of the oldest job", lambda: engine.queue_seconds)
    metrics.show("ser_tasks", "Of the event loop", lambda: len(asyncio.all_tasks()))
    overload = streams.overload
    metrics.show(
        "ser_hops_per_prediction", "More than 1: widened", lambda: overload.hops_per_prediction
    )
    app = ServeApp(
        title="ser-live",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # they would load their scripts from elsewhere
        redoc_url=None,
        lifespan=_running,
    )
    app.settings, app.streams = settings, streams
    _add_health(app)
    _add_api(app, streams)
    files = PageFiles()
    app.add_api_route("/", files.document, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount(files.path, files)
    # Not FastAPI's own: `StreamEndpoint` refuses before the handshake, with a problem.
    endpoint = StreamEndpoint(streams)
    app.router.routes.append(WebSocketRoute(endpoint.path, endpoint))
    app.add_api_route(
        endpoint.path, endpoint.refuse_plain, methods=["GET", "HEAD", "POST"],
        include_in_schema=False,
    )  # fmt: skip
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(SerError, on_failure)
    # The last one added comes first: log and count, then CORS, then access, then what fails;
    # as a handler, it would answer outside of them all.
    app.add_middleware(ServerErrorMiddleware, handler=on_failure)
    app.add_middleware(Access, settings=settings, tokens=tokens)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(Requests, metrics=metrics)
    # Before the log, the limits and the origin's check hear of a client.
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=with_mapped(settings.trusted_proxies))
    app.add_middleware(RootPath, root_path=settings.root_path)
    # Outside of the log: an answer is given when it is out, not when its connection ends.
    app.add_middleware(UnreadBodies)
    return app


def _add_health(app: ServeApp) -> None:
    streams = app.streams

    # FastAPI adds no HEAD to a GET, and monitors ask by it.
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", summary="Whether the process works", response_model=Status)
    async def healthz() -> Status:
        # It never comes back: who manages the process has to start it anew.
        if app.is_ready and not streams.engine.is_alive:
            raise ProblemError(503, "the engine has ended", code="internal")
        return Status(status="ok")

    @app.head("/readyz", include_in_schema=False)
    @app.get(
        "/readyz",
        summary="Whether streams are taken",
        response_model=Status,
        responses=problems("503"),
    )
    async def readyz() -> Status:
        if not (app.is_ready and streams.engine.is_alive):
            raise ProblemError(503, "the engine does not run", code="internal")
        streams.require_ready()
        return Status(status="ready")

    @app.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(streams.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _add_api(app: FastAPI, streams: Streams) -> None:
    schema = messages.schema()

    @app.get("/v1/models", summary="What can be asked for", response_model=list[ServedModel])
    def served_models() -> list[ServedModel]:  # in a thread: it reads files
        return [_served(streams.models, name) for name in streams.models.names]

    @app.get(
        "/v1/schema",
        summary="JSON Schema of the messages of a stream",
        response_class=Response,
        responses={200: {"content": {_SCHEMA: {"schema": {"type": "object"}}}}},
    )
    async def stream_schema() -> Response:
        return JSONResponse(schema, media_type=_SCHEMA)

    body = {"schema": {"type": "string", "format": "binary"}}
    app.add_api_route(
        # The body is read piece by piece, so FastAPI has to be told that there is one.
        "/v1/recognize",
        Recordings(streams).recognize,
        methods=["POST"],
        summary="Recognize a whole recording",
        responses={
            200: {"model": Recognition, "content": {LINES: {"schema": {"$ref": LINE_REF}}}},
            **problems("400", "404", "408", "413", "415", "422", "503"),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "An audio file: WAV, FLAC, Ogg, MP3 ...",
                "content": {"audio/*": body, "application/octet-stream": body},
            }
        },
    )


@asynccontextmanager
async def _running(app: ServeApp) -> AsyncIterator[None]:
    streams = app.streams
    engine = streams.engine
    engine.start()
    watch = asyncio.create_task(streams.watch())
    try:
        # A first run tells whether all of it works, and makes the first client's no slower.
        recognizer = StreamRecognizer(await streams.models.get(None))
        await asyncio.wrap_future(engine.process(recognizer, np.zeros(32000, np.float32)))
        app._loop = asyncio.get_running_loop()
        app.is_ready = True
        yield
    finally:
        app.is_ready, app._loop = False, None
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        # It finishes what was submitted; the event loop has to answer meanwhile.
        await asyncio.to_thread(engine.close)


def _served(models: Models, name: str) -> ServedModel:
    card = models.card(name)
    return ServedModel(
        name=name,
        labels=list(card.labels),
        licence=card.licence,
        description=card.description,
        window_seconds=card.window.seconds,
        prior=prior_name(None, card),
        default=name == models.default,
    )
