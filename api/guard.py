"""Without authentication, who reaches the port is trusted; so nobody may reach it by a detour.

A page on another site can make a browser send requests here (foreign Origin), and can give its own name this
machine's address (foreign Host). Both are refused, for WebSockets too, before anything is read.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from aegis.errors import ConfigurationError
from aegis.settings import Settings
from api.errors import refusal


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """Which names this server goes by, and which other sites' pages may ask. `open_to_addresses`: any bare address
    too, for a server opened on purpose (a page cannot rebind an address, only a name)."""

    names: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    open_to_addresses: bool = False

    def allows(self, host: str) -> bool:
        """`host` without its port, in lower case."""
        return is_loopback(host) or host in self.names or (self.open_to_addresses and _address(host) is not None)

    def allows_origin(self, origin: str, host: str) -> bool:
        """The page itself (same host and port), or one of a named site."""
        try:
            parts = urlsplit(origin)
            name = (parts.hostname or "").rstrip(".")
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not name:
            return False
        return parts.netloc.lower() == host.lower() or name in self.sites


def policy_of(settings: Settings) -> HostPolicy:
    sites = frozenset(name.lower() for name in settings.allowed_hosts)
    return HostPolicy(sites | {settings.host.lower()} - {"0.0.0.0", "::"}, sites, settings.allow_open)  # noqa: S104 (compared, not bound)


def refuse_open(settings: Settings) -> None:
    """Raises ConfigurationError when everyone on the network could use a server that asks nobody who they are."""
    if settings.auth.kind == "none" and not settings.allow_open and not is_loopback(settings.host.lower()):
        raise ConfigurationError(
            f"AEGIS_HOST={settings.host} would open a server without authentication to the network. Use 127.0.0.1, "
            "or set AEGIS_ALLOW_OPEN=yes if whoever reaches that address may read and change everything.",
            setting="AEGIS_HOST",
        )


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def host_name(host: str) -> str:
    """`Host` header -> name without port: "[::1]:8000" -> "::1". Empty when it is no host."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.partition(":")
    return name.rstrip(".") if not port or port.isdigit() else ""


class Guard:
    """Reads its policy from `app.state.policy`; until the lifespan has set one, loopback only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            state = getattr(scope.get("app"), "state", None)
            problem = objection(getattr(state, "policy", None) or HostPolicy(), scope)
            if problem is not None:
                await _refuse(scope, receive, send, problem)
                return
        await self._app(scope, receive, send)


def objection(policy: HostPolicy, scope: Scope) -> str | None:
    """Why this request is refused; None when it is not."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
    if not policy.allows(host_name(host)):
        return (
            "This server does not go by the host name of this request. Use 127.0.0.1 or localhost, or add the name "
            "to AEGIS_ALLOWED_HOSTS."
        )
    if any(not policy.allows_origin(origin.decode("latin-1"), host) for origin in origins):
        return "Requests from pages of another site are refused. Add its host name to AEGIS_ALLOWED_HOSTS to allow it."
    return None


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: str) -> None:
    if scope["type"] == "websocket":
        # Closing before accepting makes the server answer the handshake with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": "foreign host or origin"})
        return
    await refusal(scope, 403, "forbidden", problem)(scope, receive, send)
