"""What is wrong with a request, told as RFC 9457 wants it."""

from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import JSONResponse


class Problem(BaseModel):
    """The body of every error of the HTTP part."""

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    detail: str
    """One line: what came, what was wanted, what to do."""


class ProblemError(Exception):
    """A request that cannot be answered.

    Parameters
    ----------
    status : int
        Of the answer.
    detail : str
        One line for people.
    headers : dict or None
        Of the answer.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    def response(self) -> JSONResponse:
        """Make the answer."""
        return problem_response(self.status, self.detail, self.headers)


def problem_response(
    status: int, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Make the answer that tells a problem."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(
        problem.model_dump(), status, headers=headers, media_type="application/problem+json"
    )
