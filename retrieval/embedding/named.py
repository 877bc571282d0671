"""An embedder in one word, as command lines name it; and the name that a model's vectors are kept under."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aegis.errors import InvalidInput
from aegis.settings import EmbedderSettings

FORMS = "wordllama, wordllama:DIMENSIONS, onnx:FOLDER, ollama:MODEL or openai:MODEL"
_ARGUMENT = {"wordllama": "dimensions", "onnx": "folder", "ollama": "model", "openai": "model"}
_ADAPTER: TypeAdapter[EmbedderSettings] = TypeAdapter(EmbedderSettings)
_LONGEST = 40  # names of leases hold it, with something before


def embedder_settings(named: str, given: EmbedderSettings | None = None) -> EmbedderSettings:
    """`named` as in FORMS; address, key and the like are those of `given` where it is of the same kind.

    Raises InvalidInput.
    """
    kind, _, argument = named.partition(":")
    if kind not in _ARGUMENT:
        raise InvalidInput(f"There is no embedder {named[:80]!r}. Known are: {FORMS}.")
    values: dict[str, Any] = given.model_dump() if given is not None and given.kind == kind else {}
    values |= {"kind": kind, **({_ARGUMENT[kind]: argument} if argument else {})}
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput(
            f"The embedder {named[:80]!r} cannot be used: {problem['msg']}. Known are: {FORMS}."
        ) from None


def stored_name(kind: str, model: str, *what: object) -> str:
    """Letters that any file system takes; `what` is whatever else changes the vectors."""
    plain = re.sub(r"[^a-z0-9.]+", "-", model.lower()).strip("-.")[:_LONGEST] or "model"
    digest = hashlib.sha256(repr(what).encode()).hexdigest()[:8]
    return f"{kind}-{plain}-{digest}"
