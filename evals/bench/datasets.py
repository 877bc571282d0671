"""Public data sets under AEGIS_DATASETS, in the form that all of them share.

A ranking set is a folder with `corpus.jsonl` {id, title, text}, `queries.jsonl` {id, text} and `qrels.tsv`
(query id, passage id, grade). Anything more in the lines is left alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.errors import InvalidInput, NotFound

FILES = ("corpus.jsonl", "queries.jsonl", "qrels.tsv")
VARIABLE = "AEGIS_DATASETS"


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class RankingSet:
    """`qrels`: grade by passage id by query id; `queries`: text by id, only those with a passage to find."""

    name: str
    passages: Sequence[Passage]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


def datasets_folder() -> Path:
    """Raises NotFound where AEGIS_DATASETS is not set or names no folder."""
    named = os.environ.get(VARIABLE)
    if not named or not Path(named).is_dir():
        raise NotFound(f"{VARIABLE} is {named or 'not set'}; set it to the folder that holds the data sets.")
    return Path(named)


def dataset_folder(name: str) -> Path:
    """Raises NotFound, naming those that are there."""
    folder = datasets_folder()
    if not name or Path(name).name != name or not (folder / name).is_dir():
        raise NotFound(f"There is no data set {name!r} in {folder}. There are: {', '.join(_names(folder)) or 'none'}.")
    return folder / name


def ranking_sets(name: str = "all") -> Iterator[RankingSet]:
    """One by name, or all that are there. Raises NotFound and InvalidInput."""
    folder = datasets_folder()
    names = [each for each in _names(folder) if _ranks(folder / each)] if name == "all" else [name]
    if not names:
        raise NotFound(f"No folder in {folder} holds {', '.join(FILES)}.")
    for each in names:
        yield ranking_set(each)


def ranking_set(name: str) -> RankingSet:
    folder = dataset_folder(name)
    if not _ranks(folder):
        raise InvalidInput(f"{folder} is no ranking set: it needs {', '.join(FILES)}.")
    corpus = lines(folder / "corpus.jsonl")
    passages = [Passage(str(row["id"]), row.get("title") or "", row.get("text") or "") for row in corpus]
    qrels = _qrels(folder / "qrels.tsv", {passage.id for passage in passages})
    asked = {str(row["id"]): str(row["text"]) for row in lines(folder / "queries.jsonl")}
    queries = {identifier: text for identifier, text in asked.items() if qrels.get(identifier) and text.strip()}
    return RankingSet(name, passages, queries, {identifier: qrels[identifier] for identifier in queries})


def turns_before(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """What `meta` tells of the conversation before a query, as `agents.condense.standalone` takes it."""
    turns = list[dict[str, str]]()
    for said in (row.get("meta") or {}).get("history") or ():
        if said["speaker"] == "user":
            turns.append({"question": said["text"], "answer": ""})
        elif turns:
            turns[-1]["answer"] = said["text"]
    return turns


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file. Raises InvalidInput naming the line that is none."""
    with file.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                yield dict(json.loads(line))
            except (ValueError, TypeError) as error:
                raise InvalidInput(f"{file.name}, line {number}, is no JSON object: {error}") from error


def _qrels(file: Path, known: set[str]) -> dict[str, dict[str, int]]:
    """Passages that the corpus lacks cannot be found and do not count; a header line is passed over."""
    found = dict[str, dict[str, int]]()
    for line in file.read_text(encoding="utf-8").splitlines():
        parts = line.split("\t")
        if len(parts) < 3 or not parts[-1].strip().lstrip("-").isdigit():
            continue
        query, passage, grade = parts[0], parts[-2], int(parts[-1])
        if grade > 0 and passage in known:
            found.setdefault(query, {})[passage] = grade
    return found


def _names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.is_dir())


def _ranks(folder: Path) -> bool:
    return all((folder / file).is_file() for file in FILES)
