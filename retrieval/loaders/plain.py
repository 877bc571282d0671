"""Plain text, logs and source code: what is there is the text."""

from __future__ import annotations

from retrieval.loaders.charset import decode
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft


def read(data: bytes) -> Reading:
    draft = Draft()
    draft.add(decode(data))
    return Reading(draft.text)
