"""Cases: questions with what is expected of their answers, from files and from saved conversations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aegis.errors import InvalidInput, NotFound, TooLarge
from aegis.scope import Scope
from memory.conversations import Conversation, Conversations, Turn

FOLDER = Path(__file__).parent / "cases"
SAMPLES = FOLDER / "samples.jsonl"
OFF_TOPIC = FOLDER / "off-topic.jsonl"

MAX_FILE_BYTES = 64_000_000
MAX_CASES = 10_000
PAGE = 100  # conversations read at a time

Word = Annotated[str, Field(min_length=1, max_length=400)]
Alternatives = Annotated[tuple[Word, ...], Field(min_length=1, max_length=20)]


class Saved(BaseModel):
    """What was answered when the case was saved. `documents` are the ids of cited documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: str = ""
    documents: frozenset[str] = frozenset()


class Case(BaseModel):
    """One question. `expect`: every group must be met, by any of its words or phrases.

    `source` is the end of the source the answer must cite. Cases with the same `conversation` are asked in order, in
    one conversation, so that follow-ups have what they follow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=200)]
    question: Annotated[str, Field(min_length=1, max_length=50_000)]
    expect: Annotated[tuple[Alternatives, ...], Field(max_length=20)] = ()
    abstain: bool = False
    source: Annotated[str, Field(max_length=2000)] | None = None
    conversation: Annotated[str, Field(max_length=200)] = ""
    saved: Saved | None = None


def read_cases(path: Path) -> list[Case]:
    """Cases of a JSON Lines file. Raises NotFound, TooLarge, InvalidInput with the line that is wrong."""
    cases = [_case(line, f"{path.name}, line {number}") for number, line in _lines(path)]
    if not cases:
        raise InvalidInput(f"{path.name} holds no cases. Each line is an object with at least id and question.")
    if len(cases) > MAX_CASES:
        raise TooLarge(f"{path.name} holds {len(cases)} cases; at most {MAX_CASES} are taken. Split the file.")
    _refuse_doubles(cases, path.name)
    return cases


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    lines = (case.model_dump_json(exclude_defaults=True) for case in cases)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


async def snapshot(conversations: Conversations, scope: Scope, *, limit: int = 1000) -> list[Case]:
    """Cases from the user's finished turns, newest conversations first, whole conversations only."""
    if not 1 <= limit <= MAX_CASES:
        raise InvalidInput(f"limit is {limit}; it must lie between 1 and {MAX_CASES}.")
    cases: list[Case] = []
    before = ""
    while page := await conversations.list(scope, before=before, limit=PAGE):
        for conversation in page:
            turns = await conversations.history(scope, conversation.id)
            fresh = [case_of(turn) for turn in turns if turn.state == "done"]
            if len(cases) + len(fresh) > limit:
                return cases
            cases.extend(fresh)
        before = _cursor(page)
    return cases


def case_of(turn: Turn) -> Case:
    cited = frozenset(citation.document_id for citation in turn.citations)
    return Case(
        id=turn.id,
        question=turn.question,
        abstain=turn.abstained,
        conversation=turn.conversation_id,
        saved=Saved(answer=turn.answer, documents=cited),
    )


def _cursor(page: Sequence[Conversation]) -> str:
    return page[-1].cursor


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are not blank."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise TooLarge(f"{path.name} has {size} bytes; at most {MAX_FILE_BYTES} are read. Split the file.")
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"There is no case file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The case file {path} cannot be read as UTF-8 text: {error}.") from error
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _case(line: str, place: str) -> Case:
    try:
        return Case.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise InvalidInput(f"{place}: {where}: {first['msg']}.") from error


def _refuse_doubles(cases: Sequence[Case], name: str) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise InvalidInput(f"{name} uses the id {case.id!r} twice. Ids must differ, as runs are compared by them.")
        seen.add(case.id)
