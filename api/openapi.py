"""What FastAPI cannot see by itself: event schemas, the two bodies of ingest, and the envelope every error has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from api.chat import EVENTS
from api.schemas.errors import ErrorEnvelope
from api.schemas.ingestion import IngestBody

# `default` covers every error; naming it also keeps FastAPI from describing an error shape that we do not send.
ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorEnvelope, "description": "Any error"}}
_REFERENCE = "#/components/schemas/{model}"


def describing(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """A replacement for `app.openapi`, computed once."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            for name, model in _further().items():
                components.setdefault(name, model)
            _errors_as_json(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    return described


def _errors_as_json(schema: dict[str, Any]) -> None:
    """FastAPI describes errors in the type of the answer; ours are JSON also where the answer is a stream or a file."""
    reference = {"$ref": _REFERENCE.format(model=ErrorEnvelope.__name__)}
    for methods in schema["paths"].values():
        for operation in methods.values():
            operation["responses"]["default"]["content"] = {"application/json": {"schema": reference}}


def _further() -> dict[str, Any]:
    received = models_json_schema([(IngestBody, "validation")], ref_template=_REFERENCE)[1]
    sent = models_json_schema([(model, "serialization") for model in EVENTS.values()], ref_template=_REFERENCE)[1]
    return {**received["$defs"], **sent["$defs"]}
