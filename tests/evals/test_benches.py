"""Benchmarks find what they need of this checkout, wherever they are started."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from evals.bench import BENCHES
from evals.bench.inference import model_servers


async def test_the_servers_of_inference_are_ours_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dependency brings a package `tests`, too, which came first where the folder was another one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    async with model_servers(1, tokens_per_second=1000, answer_tokens=3) as (server,), httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/api/version")).status_code == 200


def test_each_benchmark_says_what_it_measures() -> None:
    assert all(__import__(module, fromlist=["bench"]).__doc__ for module in BENCHES.values())
