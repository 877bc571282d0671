"""Sample documents are a courtesy: what keeps them out keeps nobody from starting."""

from __future__ import annotations

from typing import Any

import pytest

from aegis.errors import StoreUnavailable
from aegis.samples import take_in_samples


class Away:
    async def collections(self) -> frozenset[str]:
        raise StoreUnavailable("The relational store does not answer: gone")


async def test_a_store_that_is_away_is_logged_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    catalogue: Any = Away()
    ingestion: Any = None
    await take_in_samples(catalogue, ingestion)
    assert "The sample documents were not taken in" in caplog.text
