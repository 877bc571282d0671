"""What may leave: the operator's word, the collections' and the owner's together, or the owner's for one question."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import delete, insert

from aegis.database import Database
from aegis.errors import ConfigurationError
from aegis.scope import Scope
from aegis.settings import CloudSettings, Settings
from inference.sharing import Sharing, check_embedding_at, draws, private_documents
from tests.inference.conftest import PRICES, Routed, now
from tests.inference.test_writer_contract import REQUEST
from tests.servers.openai import OpenAILike

ADA, BOB = Scope("ada", frozenset({"open", "secret"})), Scope("bob", frozenset({"open"}))
TALK, OTHER, THIRD = (f"0198a0f0-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))
OPEN = CloudSettings(allowed=True, collections=("open",))


async def test_nothing_leaves_until_somebody_says_so(any_database: Database) -> None:
    sharing = Sharing(any_database, OPEN, now)
    assert not await sharing.may_leave(ADA, TALK, ["open"], [])
    await sharing.mark(ADA, TALK)
    await sharing.mark(ADA, TALK)
    assert await sharing.may_leave(ADA, TALK, ["open"], [])
    assert not await sharing.may_leave(ADA, TALK, ["open", "secret"], [])
    assert not await sharing.may_leave(BOB, TALK, ["open"], [])  # another's mark is none
    await sharing.unmark(BOB, TALK)
    assert await sharing.may_leave(ADA, TALK, ["open"], [])
    await sharing.unmark(ADA, TALK)
    assert not await sharing.may_leave(ADA, TALK, ["open"], [])


async def test_what_its_owner_keeps_no_agreement_and_no_setting_sends(any_database: Database) -> None:
    asking = Sharing(any_database, asked_first(OPEN), now)
    assert await asking.may_leave(ADA, TALK, ["open"], [])  # it will be asked
    assert not await asking.stays(ADA, TALK)
    await asking.unmark(ADA, TALK)
    assert not await asking.may_leave(ADA, TALK, ["open"], [], agreed=True)
    assert await asking.stays(ADA, TALK)
    assert not await asking.stays(BOB, TALK)


def asked_first(given: CloudSettings) -> CloudSettings:
    return given.model_copy(update={"ask": True})


async def test_a_private_document_is_sent_by_nobodys_word(any_database: Database) -> None:
    sharing = Sharing(any_database, OPEN, now)
    await sharing.mark(ADA, TALK)
    await marked_private(any_database, "secret")
    assert await sharing.private(["plain", "secret"]) == {"secret"}
    assert await sharing.may_leave(ADA, TALK, ["open"], ["plain"])
    assert not await sharing.may_leave(ADA, TALK, ["open"], ["plain", "secret"])
    assert not await sharing.may_leave(ADA, TALK, ["open"], ["secret"], agreed=True)


async def test_a_conversation_made_from_a_private_document_stays_while_it_is_one(any_database: Database) -> None:
    """And so does one that repeats it; each is its owner's."""
    sharing = Sharing(any_database, OPEN, now)
    await any_database.transact(lambda connection: draws(connection, "ada", TALK, ["plain", "secret"]))
    await any_database.transact(lambda connection: draws(connection, "ada", TALK, ["secret"]))
    await any_database.transact(lambda connection: draws(connection, "ada", OTHER, [], retold=[TALK]))
    await any_database.transact(lambda connection: draws(connection, "bob", THIRD, [], retold=[TALK]))
    for talk in (TALK, OTHER, THIRD):
        assert await sharing.may_leave(ADA, talk, ["open"], [], agreed=True)
    await marked_private(any_database, "secret")
    for scope, talk in ((ADA, TALK), (ADA, OTHER)):
        assert await sharing.rests_on_private(scope, talk)
        assert await sharing.stays(scope, talk)
        assert not await sharing.may_leave(scope, talk, ["open"], [], agreed=True)
    assert not await sharing.rests_on_private(BOB, THIRD)  # another's conversation tells him nothing
    async with any_database.write() as connection:
        await sharing.forget(connection, ADA, OTHER)
    assert not await sharing.rests_on_private(ADA, OTHER)
    async with any_database.write() as connection:
        await connection.execute(delete(private_documents))
    assert await sharing.may_leave(ADA, TALK, ["open"], ["secret"], agreed=True)


async def marked_private(database: Database, document: str) -> None:
    async with database.write() as connection:
        row = {"document_id": document, "marked_by": "ada", "marked_at": now()}
        await connection.execute(insert(private_documents), [row])


async def test_an_agreement_opens_no_collection_and_no_cloud(database: Database) -> None:
    sharing = Sharing(database, OPEN, now)
    assert await sharing.may_leave(ADA, TALK, ["open"], [], agreed=True)
    assert not await sharing.may_leave(ADA, TALK, ["secret"], [], agreed=True)
    closed = Sharing(database, CloudSettings(collections=("open",)), now)
    await closed.mark(ADA, TALK)
    assert not await closed.may_leave(ADA, TALK, ["open"], [], agreed=True)


async def test_every_collection_means_those_to_come_too(database: Database) -> None:
    assert await Sharing(database, CloudSettings(allowed=True, collections=("*",)), now).may_leave(
        ADA, TALK, ["open", "new"], [], agreed=True
    )
    closed = Sharing(database, CloudSettings(collections=("*",)), now)
    assert not await closed.may_leave(ADA, TALK, ["open"], [], agreed=True)


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
