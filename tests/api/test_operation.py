"""Health, metrics, documentation, administration."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import REGISTRY

from aegis.errors import StoreUnavailable
from api import health
from api.chat import EVENTS
from api.checks import documents, turns, vectors
from api.health import Check, Finding
from api.schemas.admin import RebuildAnswer
from api.schemas.health import ReadyAnswer
from tests.api.conftest import Open, served


async def up() -> Finding:
    return Finding()


async def rebuilding() -> Finding:
    return Finding("rebuilding", "3 of 9 chunks", {"done": 3, "total": 9})


async def broken() -> Finding:
    raise StoreUnavailable("The relational store does not answer.")


async def hanging() -> Finding:
    await asyncio.Event().wait()
    return Finding()


@pytest.mark.parametrize(
    ("checks", "status", "word"),
    [
        ([Check("database", True, up), Check("vectors", False, up)], 200, "ready"),
        ([Check("database", True, up), Check("vectors", False, rebuilding)], 200, "degraded"),
        ([Check("database", True, up), Check("graph", False, broken)], 200, "degraded"),
        ([Check("database", True, up), Check("graph", False, hanging)], 200, "degraded"),
        ([Check("database", True, broken), Check("graph", False, up)], 503, "unavailable"),
        ([Check("database", True, hanging)], 503, "unavailable"),
        ([], 503, "unavailable"),
    ],
)
async def test_readiness(
    client_of: Open, monkeypatch: pytest.MonkeyPatch, checks: list[Check], status: int, word: str
) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    app = served()
    app.state.checks = checks
    response = await (await client_of(app)).get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (status, word)
    assert ReadyAnswer.model_validate_json(response.content).model_dump(mode="json") == response.json()
    for check in response.json()["checks"]:
        assert (check["state"] == "up") == (check["message"] is None)


async def test_alive_needs_nothing(client_of: Open) -> None:
    app = served()
    app.state.services = None
    response = await (await client_of(app)).get("/health")
    assert response.json() == {"status": "ok", "version": health.VERSION}


async def test_requests_are_counted_by_template(client_of: Open) -> None:
    client = await client_of(ingestion=object())

    def count(route: str, status: str, method: str = "GET") -> float:
        labels = {"method": method, "route": route, "status": status}
        return REGISTRY.get_sample_value("aegis_requests_total", labels) or 0

    template = "/api/v1/retrieval/jobs/{job_id}/files"
    before = (count("/health", "200"), count("unmatched", "404"), count(template, "422"), count("unmatched", "403"))
    await client.get("/health")
    await client.get("/nothing/here")
    await client.get("/api/v1/retrieval/jobs/abc/files?limit=0")
    await client.get("/health", headers={"Host": "evil.example"})
    await client.request("BREW", "/health")
    after = (count("/health", "200"), count("unmatched", "404"), count(template, "422"), count("unmatched", "403"))
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1, 1]
    page = (await client.get("/metrics")).text
    assert 'aegis_request_seconds_count{method="GET",route="/health"}' in page
    assert "abc" not in page
    assert 'method="OTHER"' in page
    assert "BREW" not in page


async def test_metrics_say_which_backends_answer(client_of: Open) -> None:
    app = served()
    app.state.checks = (Check("database", True, up), Check("graph", False, broken))
    page = (await (await client_of(app)).get("/metrics")).text
    assert 'aegis_backend_up{backend="database"} 1.0' in page
    assert 'aegis_backend_up{backend="graph"} 0.0' in page
    assert 0 < (REGISTRY.get_sample_value("aegis_disk_free_ratio") or 0) <= 1


async def test_docs_fetch_nothing_from_elsewhere(client_of: Open) -> None:
    client = await client_of()
    page = await client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.partition("style-src")[0]
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 4
    for asset in assets:
        assert (await client.get(f"/{asset}")).status_code == 200
    start = (await client.get("/docs/start.js")).text
    assert "openapi.json" in start
    assert (await client.get("/docs/__init__.py")).status_code == 422
    assert (await client.get("/docs/..%2Fcore.py")).status_code in (404, 422)


async def test_the_front_door_leads_to_the_page(client_of: Open) -> None:
    response = await (await client_of()).get("/")
    assert (response.status_code, response.headers["location"]) == (307, "/chat")


async def test_openapi_is_whole(client_of: Open) -> None:
    response = await (await client_of()).get("/openapi.json")
    schema = response.json()
    known = set(schema["components"]["schemas"])
    named = set(re.findall(r"#/components/schemas/(\w+)", response.text))
    assert named <= known
    assert {model.__name__ for model in EVENTS.values()} <= named
    assert "HTTPValidationError" not in known
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            errors = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert errors == {"$ref": "#/components/schemas/ErrorEnvelope"}, where
            assert operation["description"], where
    bodies = [name for name in known if name.endswith("Body")] + ["Filters"]
    assert len(bodies) >= 7
    for name in bodies:
        assert schema["components"]["schemas"][name]["additionalProperties"] is False, name
        for field, part in schema["components"]["schemas"][name]["properties"].items():
            assert "maxLength" in json.dumps(part) or "string" not in json.dumps(part) or _bounded(part), (name, field)


def _bounded(part: object) -> bool:
    text = json.dumps(part)
    return "enum" in text or "ISO 8601" in text or part == {"type": "string", "title": "Text"}


@dataclass
class Progress:
    running: bool
    done: int
    total: int


class FakeProjections:
    def __init__(self) -> None:
        self.now = Progress(False, 0, 0)

    async def rebuild(self) -> None:
        self.now = Progress(True, 0, 9)

    def progress(self) -> Progress:
        return self.now


@dataclass
class Filling:
    """A projection, a store that answers, or conversations: as far as the looks at them go."""

    name: str
    progress: tuple[int, int] | None
    failure: str | None = None

    async def query(self, _query: object) -> None: ...

    async def indexing(self) -> tuple[int, int] | None:
        return self.progress


@pytest.mark.parametrize(
    ("name", "state", "message"),
    [
        ("vectors:wordllama-256", "rebuilding", "3 of 9 chunks"),
        ("facts:wordllama-256", "rebuilding", "3 of 9 facts and entities"),
        ("graph", "up", None),  # which has a look of its own
    ],
)
async def test_an_index_that_is_being_filled_anew_is_not_ready(name: str, state: str, message: str | None) -> None:
    filling: Any = [Filling("vectors:other", None), Filling(name, (3, 9))]
    found = await vectors(filling[0], filling)
    assert (found.state, found.message) == (state, message)


async def test_turns_that_are_indexed_anew_are_told() -> None:
    assert await turns(Filling("", None)) == Finding()
    assert await turns(Filling("", (3, 9))) == Finding("rebuilding", "3 of 9 turns", {"done": 3, "total": 9})


async def test_rebuilding(client_of: Open) -> None:
    client = await client_of(projections=FakeProjections())
    assert (await client.get("/api/v1/admin/rebuild")).json()["running"] is False
    response = await client.post("/api/v1/admin/rebuild")
    assert (response.status_code, response.json()) == (202, {"running": True, "done": 0, "total": 9})
    assert RebuildAnswer.model_validate((await client.get("/api/v1/admin/rebuild")).json()).running


async def test_a_server_is_not_ready_before_its_samples_are_in() -> None:
    gate = asyncio.Event()
    samples = asyncio.create_task(_passed(gate))
    assert (await documents(samples)).state == "starting"
    gate.set()
    await samples
    assert (await documents(samples)).state == "up"


async def _passed(gate: asyncio.Event) -> None:
    await gate.wait()
