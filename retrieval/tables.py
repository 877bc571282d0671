"""The tables of documents, their versions and text, chunks, and the embeddings kept for rebuilding.

Visibility belongs to versions: a version is seen at every epoch e with visible_from <= e < visible_until. NEVER marks
a version not yet published (`visible_from`) or not yet replaced (`visible_until`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
)

from aegis.database import NAMES_BLOB, Timestamp, metadata

NEVER = 2**53

TEXT_PART = 100_000  # code points per row, so that no row takes long to write

documents = Table(
    "documents",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("collection", String(120), nullable=False, index=True),
    Column("source", Text, nullable=False),  # a URI, or `upload:` and a name
    Column("tags", JSON, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("document_id", ForeignKey("documents.id"), nullable=False, index=True),
    Column("content_hash", String(64), nullable=False, info=NAMES_BLOB),  # sha256 of the original bytes
    Column("visible_from", BigInteger, nullable=False),
    Column("visible_until", BigInteger, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("indexed_at", Timestamp, nullable=False),
    Column("title", Text, nullable=False),
    Column("media_type", String(120), nullable=False),
    Column("chars", Integer, nullable=False),
    Column("dated", Timestamp),  # the document's own date, if it states one
    # Long columns stand last: SQLite walks through them to reach what comes after.
    Column("pages", JSON, nullable=False),  # [[start, "label"], ...] in order: page, slide, sheet
    Column("headings", JSON, nullable=False),  # [[start, level, "heading"], ...] in order
    Column("verdict", JSON, nullable=False),  # what is known of the text's quality; {} when nothing is wrong
)

texts = Table(
    "texts",
    metadata,
    Column("version_id", ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("start", Integer, primary_key=True),  # offset of the part's first code point
    Column("text", Text, nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("version_id", ForeignKey("versions.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("text", Text, nullable=False),  # exactly text[start:end] of the version
    Column("page", String(120)),  # label of the page, slide or sheet the chunk starts on
    Column("heading", Text),  # heading path, joined by " > "
    Column("embedded_hash", String(64), nullable=False),  # of the text that was embedded (context + chunk)
    Index("ix_chunks_version_ordinal", "version_id", "ordinal"),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("text_hash", String(64), primary_key=True),
    Column("embedder", String(80), primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # float16, little endian
)

epochs = Table("epochs", metadata, Column("id", Integer, primary_key=True), Column("value", BigInteger, nullable=False))

# Which versions an epoch shows and which documents it hides; open until every index has them.
publications = Table(
    "publications",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),  # the one it leads to
    Column("shown", JSON, nullable=False),  # ids of versions that become visible
    Column("hidden", JSON, nullable=False),  # ids of documents that become invisible
    Column("opened_at", Timestamp, nullable=False),
    Column("closed_at", Timestamp),
)


def visible_at(epoch: int | BindParameter[int]) -> Any:
    return and_(versions.c.visible_from <= epoch, versions.c.visible_until > epoch)
