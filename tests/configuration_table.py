"""The table of all settings in docs/configuration.md; run `python -m tests.configuration_table` after changing one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from aegis.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGIN = "<!-- settings: begin (python -m tests.configuration_table) -->"
END = "<!-- settings: end -->"

PLAIN: dict[Any, str] = {int: "whole number", float: "number", SecretStr: "secret", Path: "path", str: "text"}


@dataclass(frozen=True, slots=True)
class Row:
    """`kind` is the value of the section's `kind` that this setting belongs to; empty when it always applies."""

    name: str
    section: str
    kind: str
    default: str
    allowed: str
    meaning: str


def rows() -> list[Row]:
    return list(_rows(Settings, "AEGIS_", "", ""))


def _rows(model: type[BaseModel], prefix: str, section: str, kind: str) -> Iterator[Row]:
    for name, info in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        nested = _models(info.annotation)
        if not nested:
            yield _row(variable, section, kind, info)
        for each in nested:
            found = _rows(each, f"{variable}__", name, _kind(each) if len(nested) > 1 else "")
            yield from found if each is nested[0] else map(_chosen, found)


def _row(variable: str, section: str, kind: str, info: FieldInfo) -> Row:
    return Row(variable, section, kind, _default(info), _allowed(info), info.description or "")


def _chosen(row: Row) -> Row:
    """A row of a kind that is not the default: its name must be given."""
    return replace(row, default="") if row.name.endswith("__KIND") else row


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sub-models that an annotation may stand for."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType):
        inner = get_args(annotation)
        return [model for each in inner for model in _models(each)]
    return []


def _kind(model: type[BaseModel]) -> str:
    return str(model.model_fields["kind"].default)


def _default(info: FieldInfo) -> str:
    value = info.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool | tuple | dict):
        return f"`{json.dumps(value)}`"
    return f"`{value}`" if value not in ("", None) else "empty"


def _allowed(info: FieldInfo) -> str:
    annotation = info.annotation
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(annotation))
    if annotation is bool:
        return "`true`, `false`"
    if get_origin(annotation) is tuple:
        return "JSON list"
    if get_origin(annotation) is dict:
        return "JSON object"
    plain = next(each for each in (get_args(annotation) or (annotation,)) if each is not NoneType)
    return f"{PLAIN[plain]}{_bounds(info)}"


def _bounds(info: FieldInfo) -> str:
    low = next((f"from {each.ge}" for each in info.metadata if isinstance(each, Ge)), "")
    above = next((f"above {each.gt}" for each in info.metadata if isinstance(each, Gt)), "")
    high = next((f"to {each.le}" for each in info.metadata if isinstance(each, Le)), "")
    found = " ".join(filter(None, (low or above, high)))
    return f" {found}" if found else ""


class Heading(Enum):
    """Titles of the sections, in the order of the settings."""

    general = "General"
    auth = "Who may come in"
    database = "Relational store"
    vectors = "Vector store"
    graph = "Graph questions"
    cache = "Cache and wake-ups"
    blobs = "Original files"
    embedder = "Embeddings"
    reranker = "Looking closer at what was found"
    ollama = "Language model"
    cloud = "Cloud providers"
    retrieval = "Retrieval"
    ingestion = "Ingestion"
    extraction = "Reading by a model"
    chat = "Chat"
    memory = "Graph memory"
    answer_cache = "Answer cache"
    admission = "Admission: how much at a time"


def table() -> str:
    """Markdown, one table per section."""
    lines: list[str] = []
    section: str | None = None
    for row in rows():
        if row.section != section:
            section = row.section
            lines += ["", f"### {Heading[section or 'general'].value}", ""]
            lines += ["| Variable | Default | Values | Meaning |", "|---|---|---|---|"]
        only = f" (kind `{row.kind}`)" if row.kind and not row.name.endswith("__KIND") else ""
        lines.append(f"| `{row.name}` | {row.default} | {row.allowed} | {row.meaning}{only} |")
    return "\n".join([*lines, ""])


def page_with_table(page: str) -> str:
    """The page with its table replaced. Raises ValueError where the markers are missing."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE} has lost its markers {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text("utf-8")), "utf-8")
