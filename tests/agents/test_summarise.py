"""The running summary, over a real store and a server that speaks Ollama's protocol."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.database import Database
from aegis.settings import OllamaSettings, Settings
from agents.prompts import SUMMARY_CHARS
from agents.summarise import STEP, Summarise, bounded
from inference.routing import RoutedWriter, budgets_of, open_writer
from memory.conversations import RECENT, Turn
from memory.conversations.tiers import TieredConversations
from tests.memory.conversations.talks import ANN, BOB, answered, asked, embedder, tell, tiers
from tests.servers.ollama import OllamaLike, running_ollama_like


@pytest.fixture
def ollama() -> Generator[OllamaLike]:
    with running_ollama_like() as server:
        yield server


@pytest.fixture
async def writer(database: Database, ollama: OllamaLike) -> AsyncGenerator[RoutedWriter]:
    section = OllamaSettings(url=ollama.url, probe_interval=0.1, timeout=5, first_token_timeout=1)
    settings = Settings(ollama=section)
    budgets = budgets_of(settings, database, lambda: datetime.now(UTC))
    async with open_writer(settings, budgets, embedder().embed) as opened:
        await opened.look()
        yield opened


@pytest.fixture
def kept(database: Database, tmp_path: Path, writer: RoutedWriter) -> TieredConversations:
    kept = tiers(database, tmp_path)
    kept.summaries = Summarise(kept.summed, writer, writer.window)
    return kept


async def settled(kept: TieredConversations) -> None:
    await kept.settle()
    await kept.summarise()


def prompts(ollama: OllamaLike) -> list[str]:
    return [call.body["messages"][-1]["content"] for call in ollama.chats]


async def more(kept: TieredConversations, told: list[Turn], count: int, answer: str = "Yes.") -> None:
    for number in range(count):
        await kept.finish(ANN, answered(asked(f"Later {number}?", told[0].conversation_id), answer))


async def test_it_tells_of_the_turns_before_the_newest_and_goes_on_from_itself(
    kept: TieredConversations, ollama: OllamaLike
) -> None:
    ollama.script = ["First summary.", "Second summary."]
    told = await tell(kept, RECENT + STEP)
    await settled(kept)
    assert await kept.summary(ANN, told[0].conversation_id) == "First summary."
    assert await kept.summary(BOB, told[0].conversation_id) == ""
    assert all(f"Question number {number}?" in prompts(ollama)[0] for number in range(STEP))
    assert f"Question number {STEP}?" not in prompts(ollama)[0]
    await more(kept, told, STEP - 1)
    await settled(kept)
    assert len(ollama.chats) == 1  # too few to ask again
    await more(kept, told, 1)
    await settled(kept)
    assert await kept.summary(ANN, told[0].conversation_id) == "Second summary."
    assert "First summary." in prompts(ollama)[1]
    assert "Question number 0?" not in prompts(ollama)[1]
    assert f"Question number {STEP}?" in prompts(ollama)[1]


async def test_no_turn_is_cut_whatever_its_length(kept: TieredConversations, ollama: OllamaLike) -> None:
    told = await tell(kept, 1)
    await more(kept, told, 1, "huge " * 20_000)
    await more(kept, told, RECENT + 8, "word " * 3_000 + "end.")
    await settled(kept)
    assert len(ollama.chats) > 1  # not all at once
    told_of = "\n".join(prompts(ollama))
    assert "huge" not in told_of
    assert told_of.count("word end.") == 8 - (STEP - 1)  # the others wait for more
    assert told_of.count("Assistant:") == 8 - (STEP - 1) + 1


@pytest.mark.parametrize("fault", ["error_500", "cut", "error_midway", "hang", "garbage"])
async def test_a_failing_model_changes_nothing_and_is_left_alone(
    kept: TieredConversations, writer: RoutedWriter, ollama: OllamaLike, fault: str
) -> None:
    told = await tell(kept, RECENT + STEP)
    ollama.fault = fault  # pyright: ignore[reportAttributeAccessIssue]  # one of its faults
    await settled(kept)
    assert await kept.summary(ANN, told[0].conversation_id) == ""
    asked_before = len(ollama.chats)
    await more(kept, told, STEP)
    await settled(kept)
    assert len(ollama.chats) == asked_before
    ollama.fault = ""
    await writer.look()
    kept.summaries = Summarise(kept.summed, writer, writer.window)  # as after the rest
    await more(kept, told, 1)
    await settled(kept)
    assert await kept.summary(ANN, told[0].conversation_id)


async def test_without_a_model_nothing_is_asked(
    kept: TieredConversations, writer: RoutedWriter, ollama: OllamaLike
) -> None:
    ollama.models.clear()
    await writer.look()
    told = await tell(kept, RECENT + STEP)
    await settled(kept)
    assert await kept.summary(ANN, told[0].conversation_id) == ""
    assert ollama.chats == []


async def test_it_goes_with_its_conversation_also_while_it_is_written(
    kept: TieredConversations, ollama: OllamaLike
) -> None:
    told = await tell(kept, RECENT + STEP)
    conversation = told[0].conversation_id
    before = await kept.summed.unsummed(ANN, conversation)
    assert before is not None
    await kept.delete(ANN, conversation)
    assert not await kept.summed.keep(ANN, conversation, before, "Too late.", 3)
    assert await kept.summary(ANN, conversation) == ""
    await settled(kept)
    assert ollama.chats == []


def test_it_is_bounded_and_ends_with_a_sentence() -> None:
    assert bounded(" One.\n Two. ") == "One. Two."
    long = "A sentence of some words. " * 200
    assert len(bounded(long)) <= SUMMARY_CHARS
    assert bounded(long).endswith("words.")
    assert len(bounded("x" * 5000)) == SUMMARY_CHARS
