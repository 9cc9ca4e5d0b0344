"""Problems: what is wrong with a request, in the form of RFC 9457."""

from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ser_live.server.observability import logger
from ser_live.text import quoted, sanitize


class Problem(BaseModel):
    """The body of every error of the HTTP part."""

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    detail: str
    """One line: what came, what was wanted, what to do."""


class ProblemError(HTTPException):
    """A request that cannot be answered: the status, a line for people, and headers."""

    def response(self) -> JSONResponse:
        """Make the answer that tells it."""
        status, title = self.status_code, HTTPStatus(self.status_code).phrase
        problem = Problem(title=title, status=status, detail=self.detail).model_dump()
        return JSONResponse(problem, status, self.headers, media_type="application/problem+json")


def problem_schema() -> dict[str, Any]:
    """Return the OpenAPI response of every problem."""
    return {
        "description": "A problem, as RFC 9457 tells it",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }


async def on_http(request: Request, error: Exception) -> Response:
    """Answer with our own problem, or what starlette refuses: a wrong path or method."""
    assert isinstance(error, HTTPException)
    if isinstance(error, ProblemError):
        return error.response()
    # Starlette's own words are "Not Found", which helps no reader.
    path = quoted(request.url.path)
    detail = {404: f"there is no {path}", 405: f"{path} does not know {request.method}"}.get(
        error.status_code, sanitize(error.detail)
    )
    return ProblemError(error.status_code, detail, error.headers).response()


async def on_invalid(_: Request, error: Exception) -> Response:
    """Answer what FastAPI refuses: a query that does not fit the document."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(sanitize(part) for part in first["loc"][1:]) or "the request"
    detail = f"{place} is {quoted(first.get('input'))}: {sanitize(first['msg'])}"
    return ProblemError(422, f"{detail}; see GET /openapi.json").response()


async def on_failure(request: Request, error: Exception) -> Response:
    """Answer what went wrong in the server itself; the log alone says what it was."""
    # The reason may name files of the server: the client gets the log's key alone.
    request_id = request.scope.get("request_id", "")
    logger.error(
        "failure", extra={"request_id": request_id, "why": sanitize(error)}, exc_info=error
    )
    detail = f"the server failed; its log tells more under {request_id}"
    return ProblemError(500, detail).response()
