"""What may leave: the operator's word, the collections' and the owner's together, or the owner's for one question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis.database import Database
from aegis.errors import ConfigurationError
from aegis.scope import Scope
from aegis.settings import CloudSettings, Settings
from inference.sharing import Sharing, check_embedding_at
from tests.inference.conftest import PRICES, Routed, now
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


async def test_every_collection_means_those_to_come_too(database: Database) -> None:
    assert await Sharing(database, CloudSettings(allowed=True, collections=("*",)), now).may_leave(
        ADA, TALK, ["open", "new"], agreed=True
    )
    closed = Sharing(database, CloudSettings(collections=("*",)), now)
    assert not await closed.may_leave(ADA, TALK, ["open"], agreed=True)


EVERYTHING = {"allowed": True, "embedding": True, "collections": ["*"]}


@pytest.mark.parametrize(
    ("url", "cloud", "says"),
    [
        ("http://127.0.0.1:11434", {}, ""),
        ("http://gpu.lan:11434", {}, ""),
        ("https://api.openai.com/v1", EVERYTHING, ""),
        ("https://api.openai.com/v1", {}, "AEGIS_CLOUD__EMBEDDING"),
        ("https://api.openai.com/v1", EVERYTHING | {"allowed": False}, "private"),
        ("https://api.openai.com/v1", EVERYTHING | {"embedding": False}, "private"),
        ("https://api.openai.com/v1", EVERYTHING | {"collections": ["default"]}, "private"),
        ("http://models.example.org/v1", EVERYTHING, "https"),
        ("http://192.168.1.5:11434", {}, "AEGIS_OLLAMA__TRUSTED_HOSTS"),
    ],
)
def test_an_embedder_elsewhere_needs_the_operators_word_for_everything(
    url: str, cloud: dict[str, object], says: str
) -> None:
    settings = Settings.model_validate({"cloud": cloud, "ollama": {"trusted_hosts": ["gpu.lan"]}})
    if not says:
        check_embedding_at(url, settings)
        return
    with pytest.raises(ConfigurationError, match=says):
        check_embedding_at(url, settings)


@pytest.mark.parametrize("agreed", [False, True])
async def test_a_cloud_call_is_offered_with_its_price_before_it_is_made(
    agreed: bool, openai_like: OpenAILike, routed_writer: Routed
) -> None:
    provider = {"kind": "openai", "url": openai_like.base_url, "api_key": "k"}
    async with routed_writer(providers=[provider], cloud={"allowed": True, "ask": True, "prices": PRICES}) as writer:
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
