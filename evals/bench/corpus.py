"""A corpus of any size from real text, the same for the same seed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

SECTIONS = 20  # sections of a document, each about one chunk


def sentences() -> list[str]:
    """Sentences of scifact where AEGIS_DATASETS has it, of our sample documents otherwise."""
    named = os.environ.get("AEGIS_DATASETS")
    file = Path(named) / "scifact" / "corpus.jsonl" if named else None
    if file is not None and file.exists():
        lines = file.read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines]
    else:
        folder = Path(__file__).resolve().parents[2] / "samples"
        texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.md"))]
    return [part.strip() for text in texts for part in text.split(". ") if 40 < len(part) < 400]


def documents(chunks: int, seed: int = 7) -> Iterator[dict[str, str]]:
    """Markdown documents of SECTIONS sections, about `chunks` chunks in all."""
    chosen = random.Random(seed)  # noqa: S311  # reproducible, not secret
    known = sentences()
    for number in range(max(1, chunks // SECTIONS)):
        parts = [f"# Report {number}"]
        for section in range(SECTIONS):
            heading = " ".join(chosen.choice(known).split()[:5])
            body = ". ".join(chosen.sample(known, 4))
            parts.append(f"## {section}. {heading}\n\n{body}.")
        yield {"source": f"bench:{number}.md", "title": f"Report {number}", "text": "\n\n".join(parts)}


def questions(count: int, seed: int = 11) -> list[str]:
    """Runs of four to eight words as they stand in the text."""
    chosen = random.Random(seed)  # noqa: S311  # reproducible, not secret
    known = sentences()
    found: list[str] = []
    while len(found) < count:
        words = chosen.choice(known).split()
        length = chosen.randint(4, 8)
        start = chosen.randrange(max(1, len(words) - length))
        found.append(" ".join(words[start : start + length]))
    return found
