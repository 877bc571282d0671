"""Bodies are bounded before they are read."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from api.limits import MEGABYTE, BodyLimits
from tests.api.conftest import Open, served

URL = "/api/v1/retrieval/search"


async def test_a_body_that_says_it_is_too_large_is_not_read(client_of: Open) -> None:
    client = await client_of()
    pieces = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal pieces
        while True:
            pieces += 1
            yield b"x" * 1000

    headers = {"Content-Length": str(2 * MEGABYTE), "Content-Type": "application/json"}
    response = await client.post(URL, content=endless(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert pieces == 0


async def test_a_body_without_length_is_read_up_to_the_limit(client_of: Open) -> None:
    client = await client_of()
    pieces = 0

    async def long() -> AsyncGenerator[bytes]:
        nonlocal pieces
        for _ in range(5_000):
            pieces += 1
            yield b" " * 1000

    response = await client.post(URL, content=long(), headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert pieces <= 1002


@pytest.mark.parametrize("length", ["-1", "abc", "1e9", "²"])
async def test_a_length_that_is_none_is_passed_over(client_of: Open, length: str) -> None:
    app = served()
    app.state.limits = BodyLimits(json=10)
    client = await client_of(app)
    headers = [(b"Content-Length", length.encode()), (b"Content-Type", b"application/json")]
    response = await client.post(URL, content=b" " * 20, headers=headers)
    assert response.status_code == 413


def test_each_path_has_its_limit() -> None:
    limits = BodyLimits(json=1, json_ingest=2, upload=3)
    form = [(b"content-type", b"multipart/form-data; boundary=x")]
    ingest = "/api/v1/retrieval/ingest"
    assert limits.of({"path": URL, "headers": form}) == 1
    assert limits.of({"path": ingest, "headers": [(b"content-type", b"application/json")]}) == 2
    assert limits.of({"path": ingest, "headers": form}) == 3
    assert limits.of({"path": "/chat/project/file", "headers": form}) == 3
