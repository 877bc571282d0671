"""Who may see what, where in a text, and how things are named: scope, spans and deterministic ids."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from dataclasses import dataclass, field

# Fixed for ever: every document, chunk, entity and fact id is derived from it.
NAMESPACE = uuid.UUID("6f1b6a52-5c0e-5c6e-9a53-0a9e6f5f2d11")

LOCAL_USER = "local"
DEFAULT_COLLECTION = "default"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose eyes a read looks through. Made by one dependency at the edge, never from a request body.

    Documents and what was drawn from them are visible by collection; conversations and facts about a person by user.
    """

    user: str
    collections: frozenset[str] = field(default_factory=lambda: frozenset({DEFAULT_COLLECTION}))
    may_add_collections: bool = False
    personal: bool = True  # whether what the user said is seen, too

    def may_read(self, collection: str) -> bool:
        return collection in self.collections

    def may_write(self, collection: str) -> bool:
        return self.may_add_collections or collection in self.collections

    def narrowed(self, collection: str | None) -> Scope:
        """The same eyes on one collection only; on none at all if that collection is not theirs."""
        if collection is None:
            return self
        return Scope(self.user, self.collections & {collection}, self.may_add_collections, personal=False)

    def conversations_only(self) -> Scope:
        """The same eyes on what the user said only."""
        return Scope(self.user, frozenset(), self.may_add_collections)

    def documents_only(self) -> Scope:
        """The same eyes, closed to what the user said."""
        return Scope(self.user, self.collections, self.may_add_collections, personal=False)


def local_scope(collections: frozenset[str] = frozenset()) -> Scope:
    """Without authentication everyone is the user `local`, who sees every collection that there is."""
    return Scope(LOCAL_USER, collections | {DEFAULT_COLLECTION}, may_add_collections=True)


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range [start, end) in code points of a document version's text."""

    start: int
    end: int


def derived_id(kind: str, *parts: str | int) -> str:
    """A UUIDv5 that depends on nothing but its arguments. Parts are length-prefixed, so no two lists collide."""
    joined = "".join(f"{len(text)}:{text}" for text in map(str, (kind, *parts)))
    return str(uuid.uuid5(NAMESPACE, joined))


def document_id(owner: str, collection: str, source: str) -> str:
    return derived_id("document", owner, collection, source)


def version_id(document: str, content_hash: str, generation: int) -> str:
    """`generation` counts earlier versions of this document with the same bytes (A, B, then A again)."""
    return derived_id("version", document, content_hash, generation)


def chunk_id(version: str, span: Span) -> str:
    return derived_id("chunk", version, span.start, span.end)


def new_id() -> str:
    """For things that have no natural identity: turns, conversations, jobs. Sorted by time of creation."""
    return str(uuid.UUID(int=_uuid7_bits()))


def content_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def group_id(kind: str, name: str) -> str:
    """Graphiti group of a collection (`d`) or a user (`u`). Group ids take only [A-Za-z0-9_-], hence the hash."""
    return f"{kind}_{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def _uuid7_bits() -> int:
    # RFC 9562, section 5.7: 48 bits of Unix milliseconds, version, 74 random bits, variant.
    millis = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    return (millis << 80) | (0x7 << 76) | ((random >> 62) << 64) | (0b10 << 62) | (random & ((1 << 62) - 1))
