"""Where a model server runs: on this machine, where private questions may go, or elsewhere, where they may not."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from aegis.settings import CompatibleSettings, Provider, Settings

NAMES = ("localhost", "host.docker.internal")  # the second is this machine, seen from a container of its own


def on_this_machine(url: str, trusted_hosts: Sequence[str] = ()) -> bool:
    """By the address alone: nothing is looked up. Hosts that the operator trusts count as this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host in NAMES or host in {trusted.strip("[]").rstrip(".").lower() for trusted in trusted_hosts}:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def is_cloud(provider: Provider, settings: Settings) -> bool:
    """Whether it is paid and sees nothing private. DashScope and OpenAI are, wherever their address leads."""
    here = on_this_machine(provider.url, settings.ollama.trusted_hosts)
    return not (isinstance(provider, CompatibleSettings) and here)
