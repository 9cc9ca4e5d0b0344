"""The OpenAPI document: what FastAPI knows of the routes, with access, problems and bounds."""

from typing import Any

from ser_live.server.access import GUARDED
from ser_live.server.messages import state_bounds
from ser_live.server.problems import Problem
from ser_live.server.recording_endpoint import LINE

_REF = "#/components/schemas/{model}"
LINE_REF = _REF.format(model="Line")
_TEXT = {"schema": {"type": "string"}}
_HEADERS: dict[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": _TEXT},
    "415": {"Accept-Encoding": _TEXT},
    "503": {"Retry-After": {"schema": {"type": "integer", "minimum": 0}}},
}


def problems(*statuses: str) -> dict[int | str, dict[str, Any]]:
    """Return the responses of an operation that are problems, by status."""
    schema = {"$ref": _REF.format(model="Problem")}
    return {
        status: {
            "description": "A problem, and its `code` tells which",
            "headers": {"X-Request-Id": _TEXT, **_HEADERS.get(status, {})},
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in statuses
    }


def completed(document: dict[str, Any], *, is_guarded: bool) -> dict[str, Any]:
    """Add what holds for all operations to FastAPI's document, in place."""
    components = document["components"]
    line = LINE.json_schema(ref_template=_REF, mode="serialization")
    components["schemas"] |= line.pop("$defs")
    components["schemas"] |= {"Line": line, "Problem": Problem.model_json_schema()}
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for name, schema in components["schemas"].items():
        state_bounds(name, schema)
    for path, item in document["paths"].items():
        asks = path.startswith(GUARDED)
        for operation in item.values():
            # Without a token of the server's one may be sent all the same.
            operation["security"] = [{"bearer": []}, *([] if is_guarded else [{}])] * asks
            operation["responses"] |= problems(*["401", "403"] * asks, "500", "default")
            for parameter in operation.get("parameters", ()):
                state_bounds(parameter["name"], parameter["schema"])
    return document
