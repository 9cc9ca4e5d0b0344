"""Problems: what is wrong with a request, in the form of RFC 9457."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from ser_live.server.messages import mistake
from ser_live.server.observability import logger
from ser_live.text import quoted, sanitize

# Of statuses that need no closer word; a stream's errors have the same ones.
_CODES = {
    400: "bad_request",
    401: "token",
    404: "not_found",
    405: "method",
    408: "too_slow",
    413: "too_large",
    415: "no_audio",
    422: "bad_option",
    500: "internal",
}


_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}


class Problem(BaseModel):
    """The body of every error of the HTTP part, as RFC 9457 has it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    detail: str
    """One line: what came, what was wanted, what to do."""
    code: str
    """One word for programs, which metrics and log call `reason`."""


class ProblemError(HTTPException):
    """A request that cannot be answered.

    Parameters
    ----------
    status : int
        Of HTTP.
    detail : str
        One line: what came, what was wanted, what to do.
    headers : mapping or None
        To send with it; None: those that the status calls for.
    code : str
        One word for programs, metrics and the log; empty: that of the status.
    """

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, code: str = ""
    ) -> None:
        super().__init__(status, detail, headers or _HEADERS.get(status))
        self.code = code or _CODES.get(status, "other")

    def response(self, scope: Scope) -> JSONResponse:
        """Make the answer that tells it, and leave the code to metrics and log."""
        status, code = self.status_code, self.code
        scope["refused"] = code
        title = HTTPStatus(status).phrase
        problem = Problem(title=title, status=status, detail=self.detail, code=code).model_dump()
        return JSONResponse(problem, status, self.headers, media_type="application/problem+json")


async def on_http(request: Request, error: Exception) -> Response:
    """Answer with our own problem, or what starlette refuses: a wrong path or method."""
    assert isinstance(error, HTTPException)
    if isinstance(error, ProblemError):
        return error.response(request.scope)
    # Starlette's own words are "Not Found", which helps no reader.
    path = quoted(request.url.path)
    detail = {404: f"there is no {path}", 405: f"{path} does not know {request.method}"}.get(
        error.status_code, sanitize(error.detail)
    )
    return ProblemError(error.status_code, detail, error.headers).response(request.scope)


async def on_invalid(request: Request, error: Exception) -> Response:
    """Answer what FastAPI refuses: a query that does not fit the document."""
    assert isinstance(error, RequestValidationError)
    detail = mistake(error.errors(), "the request", 1)
    return ProblemError(422, f"{detail}; see GET /openapi.json").response(request.scope)


async def on_failure(request: Request, error: Exception) -> Response:
    """Answer what went wrong in the server itself; the log alone says what it was."""
    return failed(error, request.scope.get("request_id", "")).response(request.scope)


def failed(error: Exception, request_id: str) -> ProblemError:
    """Log what went wrong in the server itself, and return what the client is told of it."""
    # The reason may name files of the server: the client gets the log's key alone.
    extra = {"request_id": request_id, "why": sanitize(error)}
    logger.error("failure", extra=extra, exc_info=error)
    return ProblemError(500, f"the server failed; its log tells more under {request_id}")
