"""Tables of the graph memory: Graphiti's nodes and edges, and the evidence behind each fact.

Every row belongs to a group: one per collection for what documents say, one per user for what people said. Nothing
here says who may see a row at which epoch: a fact is visible while one of its evidence rows is, and an evidence row
is while its version is (`retrieval.catalogue.visible_at`). Rows without a version come from no document.

There are no foreign keys to the catalogue: `FactStore.remove` takes a version's rows away, before or after it.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, Integer, String, Table, Text

from aegis.database import Timestamp, metadata

NAME_LENGTH = 200  # longer names are cut: they are no names

groups = Table(
    "groups",
    metadata,
    Column("id", String(36), primary_key=True),  # aegis.scope.group_id
    Column("kind", String(1), nullable=False),  # d: what a collection's documents say; u: what a user said
    Column("name", String(120), nullable=False),  # the collection, or the user
)

entities = Table(
    "entities",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False),
    Column("collection", String(120), nullable=False),  # empty in the group of a user
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("key", String(NAME_LENGTH), nullable=False),  # the name as it is looked up: memory.naming.key
    Column("labels", JSON, nullable=False),
    Column("summary", Text, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_entities_group_key", "group_id", "key"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("entity_id", String(36), primary_key=True),
    Column("key", String(NAME_LENGTH), primary_key=True),
    Column("group_id", String(36), nullable=False),
    Column("collection", String(120), nullable=False),
    Index("ix_aliases_group_key", "group_id", "key"),
    sqlite_with_rowid=False,
)

facts = Table(
    "facts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False, index=True),
    Column("collection", String(120), nullable=False),
    Column("source_id", String(36), nullable=False, index=True),
    Column("target_id", String(36), nullable=False, index=True),
    Column("relation", String(120), nullable=False),
    Column("text", Text, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("valid_at", Timestamp),  # when it became true, where that is stated
    Column("invalid_at", Timestamp),  # when it stopped being true
    Column("expired_at", Timestamp),  # when we learnt that it is superseded
    Column("reference_time", Timestamp),
    Column("created_at", Timestamp, nullable=False),
)

episodes = Table(
    "episodes",
    metadata,
    Column("id", String(36), primary_key=True),  # with a version: a chunk's id, whose text and name are kept there only
    Column("group_id", String(36), nullable=False),
    Column("collection", String(120), nullable=False),
    Column("version_id", String(36), index=True),
    Column("name", Text, nullable=False),
    Column("source", String(12), nullable=False),
    Column("description", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("valid_at", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_episodes_group_valid", "group_id", "valid_at"),
)

mentions = Table(
    "mentions",
    metadata,
    Column("episode_id", String(36), primary_key=True),
    Column("entity_id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False),
    Column("collection", String(120), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_mentions_entity", "entity_id"),
    sqlite_with_rowid=False,
)

evidence = Table(
    "evidence",
    metadata,
    Column("fact_id", String(36), primary_key=True),
    Column("episode_id", String(36), primary_key=True),
    Column("start", Integer, primary_key=True),  # in the version's text; in the episode's where it has no version
    Column("end", Integer, nullable=False),
    Column("group_id", String(36), nullable=False),
    Column("collection", String(120), nullable=False),
    Column("version_id", String(36), index=True),  # set: the episode is a chunk of this version
    Column("quote", Text),  # empty where it is the fact's text, word for word
    sqlite_with_rowid=False,
)

homes = Table(
    "homes",
    metadata,
    Column("collection", String(120), primary_key=True),
    Column("key", String(NAME_LENGTH), primary_key=True),  # the name whose home the chunk is
    Column("chunk_id", String(36), primary_key=True),
    Column("version_id", String(36), nullable=False, index=True),
    sqlite_with_rowid=False,
)

changes = Table(
    "fact_changes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False),
    Column("fact_id", String(36), nullable=False),  # or the entity that was merged into another
    Column("kind", String(12), nullable=False),  # memory.facts.history.Kind
    Column("other_id", String(36), nullable=False),  # the fact that replaced it, the entity it went into; may be empty
    Column("reason", Text, nullable=False),
    Column("by", String(120), nullable=False),  # the user, or `rule`
    Column("before", JSON, nullable=False),  # what undoing puts back
    Column("at", Timestamp, nullable=False),
    Column("undone_at", Timestamp),
    Index("ix_fact_changes_group_at", "group_id", "at"),
    Index("ix_fact_changes_fact", "fact_id"),
    Index("ix_fact_changes_other", "other_id"),
)

merged = Table(
    "merged_entities",
    metadata,
    Column("entity_id", String(36), primary_key=True),
    Column("into_id", String(36), nullable=False, index=True),  # as which it is read; never one that is merged itself
    Column("group_id", String(36), nullable=False, index=True),
    Column("at", Timestamp, nullable=False),
    sqlite_with_rowid=False,
)

# What is known of an entity, by the facts that say it: their words are read where they stand, so that a summary never
# says what a deleted or hidden source said.
summaries = Table(
    "entity_summaries",
    metadata,
    Column("entity_id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False),
    Column("fact_ids", JSON, nullable=False),
    Column("at", Timestamp, nullable=False),
    sqlite_with_rowid=False,
)

# A summary in a model's words, as far as the facts chosen for it state them; empty where they do not. It is told only
# while those very facts are, and goes with the first of them.
descriptions = Table(
    "entity_descriptions",
    metadata,
    Column("entity_id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False),
    Column("text", Text, nullable=False),
    Column("model", String(200), nullable=False),
    Column("fact_ids", JSON, nullable=False),
    Column("at", Timestamp, nullable=False),
)

described_by = Table(
    "entity_description_facts",
    metadata,
    Column("fact_id", String(36), primary_key=True),
    Column("entity_id", String(36), primary_key=True),
    sqlite_with_rowid=False,
)

consolidations = Table(
    "consolidations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("started_at", Timestamp, nullable=False, index=True),
    Column("ended_at", Timestamp),
    Column("phase", String(12), nullable=False),  # memory.facts.consolidation.Phase
    Column("after", String(36), nullable=False),  # the last group or entity of the phase that is done
    Column("merged", Integer, nullable=False),
    Column("pruned", Integer, nullable=False),
    Column("summarised", Integer, nullable=False),
)

refused = Table(
    "refused_facts",
    metadata,
    # Ids of facts hold a hash of their words, so that what nobody may learn again is known without being kept.
    Column("fact_id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False, index=True),
    Column("at", Timestamp, nullable=False),
    sqlite_with_rowid=False,
)
