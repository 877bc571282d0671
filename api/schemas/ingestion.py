"""Documents that are taken in as JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.schemas import Answer, Body, Filled, Name, Plain, Source, Tag


class DocumentBody(Body):
    source: Source
    text: Plain
    title: Annotated[Filled, Field(max_length=500)] | None = None
    collection: Name | None = None
    tags: Annotated[list[Tag], Field(max_length=20)] = []
    private: Annotated[bool, Field(description="Nothing of it leaves this machine, whatever the settings allow")] = (
        False
    )


class IngestBody(Body):
    documents: Annotated[list[DocumentBody], Field(min_length=1, max_length=10_000)]


class JobStarted(Answer):
    job_id: str
