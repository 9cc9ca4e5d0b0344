"""The documents for programs: every bound is stated, is that of the check, and is valid."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema
import pytest

from ser_live.errors import SerError
from ser_live.model.classifier import OnnxClassifier
from ser_live.server.app import create_app
from ser_live.server.messages import Start, read, schema
from ser_live.server.recognition_session import RecognitionSession
from ser_live.server.settings import Settings

Schema = dict[str, Any]
SCHEMA = schema()
START = {"type": "start", "sample_rate_hz": 16000, "channels": 1, "format": "s16le"}

# Words of JSON Schema 2020-12, as ajv --strict has them; "discriminator" is one of OpenAPI.
KEYWORDS = {
    *("$schema", "$ref", "$defs", "title", "description", "default", "type", "const", "enum"),
    *("anyOf", "oneOf", "properties", "propertyNames", "additionalProperties", "required"),
    *("items", "minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength", "pattern"),
}
TEXTS_FOR_PEOPLE = {"detail", "licence", "description", "title", "type", "status", "code", "notes"}


def parts(name: str, part: Schema) -> Iterator[tuple[str, Schema]]:
    """Return a schema and all within it, each with the name of the value."""
    yield name, part
    for own, inner in [*part.get("properties", {}).items(), *part.get("$defs", {}).items()]:
        yield from parts(own, inner)
    several = [*part.get("anyOf", ()), *part.get("oneOf", ())]
    single = [part.get(word) for word in ("items", "additionalProperties", "propertyNames")]
    for inner in [*several, *single]:
        if isinstance(inner, dict):
            yield from parts(name, inner)


def require_bounds(name: str, part: Schema) -> None:
    """Numbers say from where on they go, texts how long they are or what they look like."""
    kind = part.get("type")
    if {"const", "enum"} & {*part}:
        return
    if kind in ("number", "integer"):
        assert "minimum" in part, name
    elif kind == "string" and name not in TEXTS_FOR_PEOPLE:
        assert {"minLength", "pattern"} & {*part}, name


def test_strict_validators_take_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name, part in parts("", SCHEMA):
        assert {*part} <= KEYWORDS, name
        require_bounds(name, part)
        # They want the type beside the bounds, and a default that the bounds allow.
        if {"minimum", "maximum", "minLength", "maxLength", "pattern"} & {*part}:
            assert part["type"] in ("number", "integer", "string"), name
        if "default" in part:
            full = {**part, "$defs": SCHEMA["$defs"]}
            jsonschema.Draft202012Validator(full).validate(part["default"])
        assert {*part.get("required", ())} <= {*part.get("properties", ())}, name


def bounds() -> Iterator[tuple[str, str, float]]:
    for name, part in SCHEMA["$defs"]["Start"]["properties"].items():
        for own, inner in parts(name, part):
            for word in ("minimum", "maximum", "minLength", "maxLength"):
                # Names are those of the models that are there, and of their labels and outputs.
                is_name = own in ("model", "ordinary") or (own == "prior" and "Length" in word)
                if word in inner and not is_name:
                    yield name, word, inner[word]


def beside(name: str, word: str, bound: float) -> tuple[Any, Any]:
    """Return a value at a bound, and one beyond it."""
    if word in ("minLength", "maxLength"):
        beyond = "x" * int(bound + (1 if word == "maxLength" else -1))
        return None, [beyond] if name == "labels" else beyond
    step = 1 if isinstance(bound, int) and bound else 0.01
    outside = bound + (step if word == "maximum" else -step)
    return (bound, outside) if name != "prior" else ({"sad": bound}, {"sad": outside})


@pytest.mark.parametrize(("name", "word", "bound"), [*bounds()])
def test_each_bound_of_the_start_is_that_of_the_check(
    name: str, word: str, bound: float, model: OnnxClassifier
) -> None:
    def begin(value: object) -> None:
        told = read(json.dumps(START | {name: value}))
        assert isinstance(told, Start)
        RecognitionSession(mock.Mock(), model, told, told.sample_rate_hz, told.channels)

    within, beyond = beside(name, word, bound)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    if within is not None:
        validator.validate(START | {name: within})
        begin(within)
    assert not validator.is_valid(START | {name: beyond})
    with pytest.raises(SerError):
        begin(beyond)


@pytest.fixture(scope="module")
def document(tiny_model: Path) -> Schema:
    return create_app(Settings(models=[str(tiny_model)])).openapi()


def test_the_document_is_valid_and_states_its_bounds(document: Schema) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(document, cls=validator.OpenAPIV31SpecValidator)
    for title, part in document["components"]["schemas"].items():
        for name, inner in parts(title, part):
            require_bounds(name, inner)
    recognize = document["paths"]["/v1/recognize"]["post"]
    line = recognize["responses"]["200"]["content"]["application/x-ndjson"]["schema"]
    whole = jsonschema.Draft202012Validator(line | {"components": document["components"]})
    error = {"type": "error", "code": "too_slow", "detail": "", "fatal": True}
    assert not whole.is_valid(error)
    whole.validate(error | {"code": "too_long"})
    options = recognize["parameters"]
    start = SCHEMA["$defs"]["Start"]["properties"]
    for option in options:
        for name, inner in parts(option["name"], option["schema"]):
            require_bounds(name, inner)
        # The same, but for a null that no query can send.
        wanted = {key: start[option["name"]].get(key) for key in ("minimum", "maximum", "anyOf")}
        assert {key: option["schema"].get(key) for key in wanted} == wanted


@pytest.mark.parametrize("token", [None, "correct-horse-battery"])
def test_it_tells_what_asks_for_a_token_and_what_is_refused(
    token: str | None, tiny_model: Path
) -> None:
    document = create_app(Settings(models=[str(tiny_model)], token=token)).openapi()
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, item in document["paths"].items():
        for operation in item.values():
            asks = path.startswith(("/v1/", "/metrics"))
            wanted: list[Schema] = [{"bearer": []}, *([] if token else [{}])]
            assert operation["security"] == (wanted if asks else [])
            responses = operation["responses"]
            assert ("401" in responses) == asks
            for status, told in responses.items():
                assert told["content"], (path, status)
                if status != "200":
                    (media,) = told["content"]
                    assert media == "application/problem+json"
    refused = document["paths"]["/v1/recognize"]["post"]["responses"]
    assert {*["400", "401", "403", "404", "408", "413", "415", "422", "500", "503"]} <= {*refused}
    assert "Retry-After" in refused["503"]["headers"]
