"""How large the graph memory is, for its metric."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from sqlalchemy import func, select

from aegis import telemetry
from aegis.database import Database
from aegis.errors import StoreUnavailable
from memory.facts.tables import entities, evidence, facts, mentions

EVERY = 60.0  # seconds between two counts: a million rows take some tenths of a second in the reader's thread
TABLES = {"entities": entities, "facts": facts, "mentions": mentions, "evidence": evidence}


@dataclass(slots=True)
class GraphSize:
    database: Database
    counted_at: float = -math.inf

    async def tell(self) -> None:
        """Sets the gauge, unless it was set a moment ago. A store out of reach leaves it as it is."""
        if time.monotonic() - self.counted_at < EVERY:
            return
        self.counted_at = time.monotonic()
        try:
            async with self.database.read() as connection:
                for kind, table in TABLES.items():
                    count = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
                    telemetry.GRAPH_SIZE.labels(kind).set(int(count))
        except StoreUnavailable:
            self.counted_at = -math.inf
