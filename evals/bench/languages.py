"""A query copied from a passage finds it in the first three, in every language: all languages in one collection.

Passages are the longer messages of gettext catalogues (`*/LC_MESSAGES/*.mo`), of this machine's programs or of the
folder that `--dataset` names. A query is a stretch from the middle of a passage: six words, or fifteen signs where a
script puts no spaces between words.
"""

from __future__ import annotations

import asyncio
import gettext
import random
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aegis.errors import NotFound
from evals.bench.shelf import SCOPE, Shelf, open_shelf, whole
from retrieval.embedding import open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.language import UNSPACED
from retrieval.loaders.cleaning import one_line
from retrieval.search import SearchRequest

FOLDER = "/usr/share/locale"
LANGUAGES = ("ja", "zh_CN", "th", "km", "lo", "ko", "de", "fr", "es", "ru", "fi", "tr", "el", "ar", "hu")
PASSAGES = 300  # of a language
QUERIES = 100
LEAST = 100  # passages that a language needs to be measured
SHORTEST = {True: 40, False: 90}  # characters of a passage, without spaces between words and with
SIGNS, WORDS = 15, 6  # of a query
FIRST = 3
SEED = 1

_SIGNS = re.compile(f"[{UNSPACED}]")
_ODD = re.compile(r"%[-#0-9.$]*[a-zA-Z]|[<>{}\\]|\x00")


def bench(*, quiet: bool = False, dataset: str = FOLDER, embedder: str = "wordllama") -> dict[str, Any]:
    """Raises NotFound where the folder holds no catalogues."""
    folder = Path(FOLDER if dataset == "all" else dataset)
    texts = {language: found for language in LANGUAGES if len(found := _texts(folder / language)) >= LEAST}
    if not texts:
        raise NotFound(f"{folder} holds no gettext catalogues (LANGUAGE/LC_MESSAGES/*.mo) with enough messages.")
    found = asyncio.run(_measure(texts, embedder))
    if not quiet:
        _show(found)
    return found


async def _measure(texts: Mapping[str, Sequence[str]], embedder: str) -> dict[str, Any]:
    async with open_embedder(embedder_settings(embedder)) as opened:
        with tempfile.TemporaryDirectory() as folder:
            async with open_shelf(Path(folder), opened) as shelf:
                books = {f"{language}-{n}": text for language, held in texts.items() for n, text in enumerate(held)}
                await shelf.put([whole(name, "", text) for name, text in books.items()])
                found = {language: await _language(shelf, language, held) for language, held in texts.items()}
        return {"embedder": opened.name, "languages": found}


async def _language(shelf: Shelf, language: str, texts: Sequence[str]) -> dict[str, float | int]:
    places = random.Random(SEED).sample(range(len(texts)), min(QUERIES, len(texts)))  # noqa: S311  # no secret
    hits = 0
    for place in places:
        answer = await shelf.searcher().search(SCOPE, SearchRequest(copied(texts[place]), top_k=FIRST))
        hits += f"{language}-{place}" in {hit.chunk.document_id for hit in answer}
    return {"passages": len(texts), "queries": len(places), f"in_first_{FIRST}": round(hits / len(places), 4)}


def copied(text: str) -> str:
    """From the middle of the text, where nothing marks it."""
    if unspaced(text):
        start = max(0, (len(text) - SIGNS) // 2)
        return text[start : start + SIGNS]
    words = text.split()
    start = max(0, (len(words) - WORDS) // 2)
    return " ".join(words[start : start + WORDS])


def unspaced(text: str) -> bool:
    return 2 * len(_SIGNS.findall(text)) > len(text)


def _texts(folder: Path) -> list[str]:
    """Distinct messages, long enough to be told apart, in an order that hangs on nothing but the catalogues."""
    found = dict.fromkeys(_messages(folder / "LC_MESSAGES"))
    drawn = sorted(found)
    random.Random(SEED).shuffle(drawn)  # noqa: S311  # no secret
    return drawn[:PASSAGES]


def _messages(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.mo")):
        with file.open("rb") as opened:
            try:
                catalogue = gettext.GNUTranslations(opened)
            except (OSError, ValueError, UnicodeDecodeError):
                continue  # a catalogue in another form
        for original, text in catalogue._catalog.items():  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]  # nothing public lists them
            flat = one_line(str(text))  # as loaders do: Khmer has invisible spaces between its words
            if original and not _ODD.search(flat) and len(flat) >= SHORTEST[unspaced(flat)] and flat != original:
                yield flat


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "passages", "queries", f"in first {FIRST}", title=f"copied queries, {found['embedder']}")
    for language, figures in found["languages"].items():
        table.add_row(language, *(str(value) for value in figures.values()))
    Console(width=80).print(table)
