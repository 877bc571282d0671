"""Graphiti is quietened by our package, so that is imported before any test imports Graphiti."""

import memory.facts  # noqa: F401  # pyright: ignore[reportUnusedImport]  # for what it sets
