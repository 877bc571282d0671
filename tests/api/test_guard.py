"""Without authentication only this machine's own pages and programs get in."""

from __future__ import annotations

from typing import Any

import pytest

from aegis.errors import ConfigurationError
from aegis.settings import Settings
from api.guard import HostPolicy, host_name, is_loopback, policy_of, refuse_open
from tests.api.conftest import Open, served


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue]  # pydantic-settings' own


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST", "a.localhost", "127.0.0.1", "127.8.9.1:80", "[::1]:8000", "[::1]"],
)
async def test_this_machine_is_let_in(client_of: Open, host: str) -> None:
    response = await (await client_of()).get("/health", headers={"Host": host})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "10.0.0.7",
        "0.0.0.0",  # noqa: S104 (nothing is bound)
        "[::]",
        "",
        "localhost:80:80",
        "127.0.0.1@evil.example",
        "localhost/evil.example",
        "127.1",
        "2130706433",
    ],
)
async def test_a_foreign_host_is_refused(client_of: Open, host: str) -> None:
    """A page whose name was rebound to 127.0.0.1 says its own name here."""
    response = await (await client_of()).get("/health", headers={"Host": host})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:8000", True),
        ("https://127.0.0.1:8000", True),
        ("http://127.0.0.1:3000", False),
        ("http://localhost:8000", False),
        ("https://evil.example", False),
        ("https://127.0.0.1:8000.evil.example", False),
        ("http://user@127.0.0.1:8000", False),
        ("file://127.0.0.1:8000", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
async def test_only_our_own_pages_may_ask(client_of: Open, origin: str, allowed: bool) -> None:
    client = await client_of()
    response = await client.get("/health", headers={"Origin": origin})
    assert response.status_code == (200 if allowed else 403)


async def test_named_hosts_are_let_in(client_of: Open) -> None:
    client = await client_of(served(settings=settings(allowed_hosts=("Rag.Example",))))
    assert (await client.get("/health", headers={"Host": "rag.example:443"})).status_code == 200
    assert (await client.get("/health", headers={"Origin": "https://rag.example"})).status_code == 200
    assert (await client.get("/health", headers={"Host": "other.example"})).status_code == 403


async def test_two_hosts_are_none(client_of: Open) -> None:
    client = await client_of()
    response = await client.get("/health", headers=[("Host", "127.0.0.1"), ("Host", "evil.example")])
    assert response.status_code == 403


def test_an_open_server_takes_addresses_but_no_foreign_names() -> None:
    policy = policy_of(settings(host="0.0.0.0", allow_open=True))  # noqa: S104 (nothing is bound)
    assert policy.allows("10.0.0.7")
    assert policy.allows("localhost")
    assert not policy.allows("evil.example")
    assert policy_of(settings(host="192.168.1.5", allow_open=True)).allows("192.168.1.5")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "rag.example"])  # noqa: S104 (nothing is bound)
def test_listening_beyond_this_machine_must_be_asked_for(host: str) -> None:
    with pytest.raises(ConfigurationError, match="AEGIS_ALLOW_OPEN=yes"):
        refuse_open(settings(host=host))
    refuse_open(settings(host=host, allow_open=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_listening_on_this_machine_is_the_default(host: str) -> None:
    refuse_open(settings(host=host))


async def test_a_websocket_from_elsewhere_is_closed_before_it_opens() -> None:
    app = served()
    for host, origin, expected in (
        (b"127.0.0.1:8000", b"https://evil.example", "websocket.close"),
        (b"evil.example", b"http://evil.example", "websocket.close"),
    ):
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        scope = {
            "type": "websocket",
            "path": "/chat/ws",
            "headers": [(b"host", host), (b"origin", origin)],
            "query_string": b"",
            "subprotocols": [],
        }
        await app(scope, receive, send)
        assert [message["type"] for message in sent] == [expected]
        assert sent[0]["code"] == 1008


def test_names() -> None:
    assert host_name("[::1]:8000") == "::1"
    assert host_name("Localhost.:80") == "localhost"
    assert not is_loopback("")
    assert not HostPolicy().allows("")
