"""What may leave: the operator's word, the collections' and the owner's together, or the owner's for one question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis.database import Database
from aegis.scope import Scope
from aegis.settings import CloudSettings
from inference.sharing import Sharing
from tests.inference.conftest import Routed, now
from tests.inference.test_writer_contract import REQUEST
from tests.servers.openai import OpenAILike

ADA, BOB = Scope("ada", frozenset({"open", "secret"})), Scope("bob", frozenset({"open"}))
TALK = "0198a0f0-0000-7000-8000-000000000001"
OPEN = CloudSettings(allowed=True, collections=("open",))


async def test_nothing_leaves_until_somebody_says_so(any_database: Database) -> None:
    sharing = Sharing(any_database, OPEN, now)
    assert not await sharing.may_leave(ADA, TALK, ["open"])
    await sharing.mark(ADA, TALK)
    await sharing.mark(ADA, TALK)
    assert await sharing.may_leave(ADA, TALK, ["open"])
    assert not await sharing.may_leave(ADA, TALK, ["open", "secret"])
    assert not await sharing.may_leave(BOB, TALK, ["open"])  # another's mark is none
    await sharing.unmark(BOB, TALK)
    assert await sharing.may_leave(ADA, TALK, ["open"])
    await sharing.unmark(ADA, TALK)
    assert not await sharing.may_leave(ADA, TALK, ["open"])


async def test_an_agreement_opens_no_collection_and_no_cloud(database: Database) -> None:
    sharing = Sharing(database, OPEN, now)
    assert await sharing.may_leave(ADA, TALK, ["open"], agreed=True)
    assert not await sharing.may_leave(ADA, TALK, ["secret"], agreed=True)
    closed = Sharing(database, CloudSettings(collections=("open",)), now)
    await closed.mark(ADA, TALK)
    assert not await closed.may_leave(ADA, TALK, ["open"], agreed=True)


@pytest.mark.parametrize("agreed", [False, True])
async def test_a_cloud_call_is_offered_with_its_price_before_it_is_made(
    agreed: bool, openai_like: OpenAILike, routed_writer: Routed
) -> None:
    provider = {"kind": "openai", "url": openai_like.base_url, "api_key": "k"}
    async with routed_writer(providers=[provider], cloud={"allowed": True, "ask": True}) as writer:
        request = replace(REQUEST, user="ada", shareable=True, agreed=agreed)
        pieces = [piece async for piece in writer.write(request)]
    offer = pieces[-1].offer
    assert (offer is None) is agreed
    assert len(openai_like.chats) == agreed
    if offer is not None:
        assert (offer.provider, offer.model) == ("openai", "gpt-4o-mini")
        assert 0 < offer.cost < 0.01
        assert "No Ollama server answers" in offer.reason
        assert pieces[-1].model == "extractive"
