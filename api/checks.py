"""The looks that `/health/ready` takes at what `open_services` opened."""

from __future__ import annotations

from typing import Any

from api.health import Check, Finding


def checks_of(services: Any) -> tuple[Check, ...]:
    async def database() -> Finding:
        await services.database.ping()
        return Finding()

    return (Check("database", True, database),)
