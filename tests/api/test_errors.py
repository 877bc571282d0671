"""Every error leaves in one envelope, with the status of its class and nothing of our insides."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, HTTPException

from aegis import errors
from api.errors import STATUS, status_of
from tests.api.conftest import Open, served


def all_kinds(kind: type[errors.AegisError] = errors.AegisError) -> list[type[errors.AegisError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in all_kinds(child))]


def failing(error: Exception) -> FastAPI:
    app = served()

    @app.get("/fail")
    async def fail() -> None:  # pyright: ignore[reportUnusedFunction]  # the app calls it
        raise error

    return app


EXPECTED = {
    errors.AegisError: 500,
    errors.InvalidInput: 422,
    errors.TooLarge: 413,
    errors.UnsupportedFormat: 415,
    errors.UnreadableDocument: 422,
    errors.NotFound: 404,
    errors.Forbidden: 403,
    errors.Conflict: 409,
    errors.Unavailable: 503,
    errors.StoreUnavailable: 503,
    errors.IndexUnavailable: 503,
    errors.GraphUnavailable: 503,
    errors.ModelUnavailable: 503,
    errors.ModelBusy: 503,
    errors.BudgetExhausted: 503,
    errors.Overloaded: 503,
    errors.ModelFailed: 502,
    errors.PromptCut: 502,
    errors.DataFolderError: 503,
    errors.FolderInUse: 503,
    errors.FormatTooNew: 503,
    errors.ConfigurationError: 500,
}


@pytest.mark.parametrize("kind", EXPECTED, ids=[kind.__name__ for kind in EXPECTED])
async def test_each_class_has_its_status(client_of: Open, kind: type[errors.AegisError]) -> None:
    client = await client_of(failing(kind("the words", what="this")))
    response = await client.get("/fail")
    assert response.status_code == EXPECTED[kind]
    error = response.json()["error"]
    assert list(error) == ["code", "message", "details", "request_id"]
    assert error["code"] == kind.code
    assert error["request_id"] == response.headers["x-request-id"] != ""
    assert ("retry-after" in response.headers) == issubclass(kind, errors.Unavailable)
    told = response.status_code != 500
    assert (error["message"] == "the words", error["details"] == {"what": "this"}) == (told, told)


def test_the_table_knows_every_class() -> None:
    for kind in all_kinds():
        if kind.__module__ == "aegis.errors":
            assert kind in EXPECTED
            assert status_of(kind("x")) == EXPECTED[kind]
    assert set(STATUS) <= set(EXPECTED)


async def test_what_nobody_expected_tells_nothing_of_our_insides(client_of: Open) -> None:
    client = await client_of(failing(RuntimeError("password=hunter2")))
    response = await client.get("/fail")
    assert response.status_code == 500
    assert "hunter2" not in response.text
    assert response.json()["error"]["code"] == "internal"
    assert response.headers["x-request-id"] == response.json()["error"]["request_id"]


async def test_unknown_addresses_and_methods(client_of: Open) -> None:
    client = await client_of()
    missing = await client.get("/api/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    wrong = await client.get("/api/v1/retrieval/search")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


async def test_a_hosts_own_http_exception_keeps_its_words(client_of: Open) -> None:
    client = await client_of(failing(HTTPException(418, "a teapot")))
    response = await client.get("/fail")
    assert response.status_code == 418
    assert response.json()["error"] | {"request_id": ""} == {
        "code": "invalid_request",
        "message": "a teapot",
        "details": {},
        "request_id": "",
    }


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2:3", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("", False)]
)
async def test_a_sane_request_id_is_kept(client_of: Open, given: str, kept: bool) -> None:
    client = await client_of()
    response = await client.get("/health", headers={"X-Request-ID": given})
    assert (response.headers["x-request-id"] == given) is kept
    assert response.headers["x-request-id"]


async def test_before_services_are_open_requests_are_told_to_come_back(client_of: Open) -> None:
    app = served()
    app.state.services = None
    client = await client_of(app)
    response = await client.get("/api/v1/documents")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
