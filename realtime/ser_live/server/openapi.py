"""The OpenAPI document: what FastAPI knows of the routes, with access, problems and bounds."""

from typing import Any

from ser_live.server.access import GUARDED
from ser_live.server.messages import state_bounds
from ser_live.server.problems import Problem

_PROBLEMS = {
    400: "The body is empty or broken off: `bad_request`",
    401: "No token came, or a wrong one: `token`",
    403: "`host`: the server is not known by that name; `origin`: its pages may not connect",
    404: "No such model: `unknown_model`",
    408: "The body, or the reading of the answer, is too slow: `too_slow`, `slow_reader`",
    413: "The recording or its answer is too large: `too_large`; or too long: `too_long`",
    415: "No audio that can be read: `no_audio`; or packed: `content_encoding`",
    422: "An option that cannot be: `bad_option`",
    429: "A limit of the token: try later",
    500: "The server failed, and its log tells why: `internal`",
    503: "No room now, and `code` tells why: try later",
}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"const": "Bearer", "type": "string"}}},
    415: {"Accept-Encoding": {"schema": {"const": "identity", "type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer", "minimum": 0}}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 0}}},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses of an operation that are problems, by status."""
    return {status: _problem(_PROBLEMS[status], _HEADERS.get(status, {})) for status in statuses}


def completed(document: dict[str, Any], *, is_guarded: bool) -> dict[str, Any]:
    """Add what holds for all operations to FastAPI's document, in place."""
    components = document["components"]
    components["schemas"]["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "What `ser-serve` printed"}
    }
    for name, schema in components["schemas"].items():
        state_bounds(name, schema)
    for path, item in document["paths"].items():
        asks = path.startswith(GUARDED)
        for operation in item.values():
            # Without a token of the server's one may be sent all the same.
            operation["security"] = [{"bearer": []}, *([] if is_guarded else [{}])] * asks
            common = problems(*[401, 403] * asks, 500)
            responses = {str(status): told for status, told in common.items()}
            others = {"default": _problem("Another problem", {})}
            operation["responses"] |= responses | others
            for parameter in operation.get("parameters", ()):
                state_bounds(parameter["name"], parameter["schema"])
    return document


def _problem(description: str, headers: dict[str, Any]) -> dict[str, Any]:
    request_id = {"schema": {"type": "string"}, "description": "Its key in the log"}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": description,
        "headers": {"X-Request-Id": request_id, **headers},
        "content": {"application/problem+json": {"schema": schema}},
    }
