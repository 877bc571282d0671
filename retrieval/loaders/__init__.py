"""Bytes -> text with a map of pages and headings, and a verdict on the text. One file per format.

`load` is the only entrance. It is pure, runs in a reading process that may be killed, and never touches the network.
"""

from __future__ import annotations

from retrieval.loaders.document import LoadedDocument
from retrieval.loaders.formats import load

__all__ = ["LoadedDocument", "load"]
