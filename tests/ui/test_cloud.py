"""Cloud models, money and a cut prompt, as somebody sees them: the page before a real server, and its API."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect

from tests.servers.ollama import running_ollama_like
from tests.servers.openai import OpenAILike, running_openai_like
from tests.ui.conftest import chatting
from tests.ui.site import CHROMIUM, Chat, Site, running_site

pytestmark = pytest.mark.browser

QUESTION = "Why does AegisRAG run Qdrant Edge in a child process?"
PRICES = {"gpt-4o-mini": [1.0, 2.0]}  # made up


@pytest.fixture(scope="module")
def cloud() -> Generator[OpenAILike]:
    with running_openai_like() as server:
        yield server


@pytest.fixture(scope="module")
def site(
    request: pytest.FixtureRequest, cloud: OpenAILike, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Site]:
    """`ask`: before each cloud call; otherwise the conversation's mark counts."""
    if CHROMIUM is None:
        pytest.skip("The browser tests need Debian's `chromium` in the path.")
    home = tmp_path_factory.mktemp("cloud")
    working = home / "working"
    working.mkdir()
    provider = {"kind": "openai", "url": cloud.base_url, "api_key": "k", "daily_budget": 0.012}
    settings = {
        "AEGIS_PROVIDERS": json.dumps([provider]),
        "AEGIS_CLOUD__ALLOWED": "yes",
        "AEGIS_CLOUD__COLLECTIONS": '["default"]',
        "AEGIS_CLOUD__PRICES": json.dumps(PRICES),
        "AEGIS_CLOUD__WARN_AT": "0.05",
        "AEGIS_CLOUD__ASK": "yes" if request.param == "ask" else "no",
        "AEGIS_EXTRACTION__ENABLED": "yes" if request.param == "ask" else "no",
    }
    with running_ollama_like(started=False) as ollama, running_site(home / "data", working, ollama, **settings) as made:
        yield made


MARK, ASK = (pytest.mark.parametrize("site", [way], indirect=True, scope="module") for way in ("mark", "ask"))


@MARK
def test_a_conversation_is_private_until_its_switch_is_used(chat: Chat, site: Site, cloud: OpenAILike) -> None:
    chat.open().ask(QUESTION).idle()
    expect(chat.answers.last).to_contain_text("because this conversation or one of its documents is private")
    assert cloud.chats == []
    switch = chat.page.locator("#aegis-sharing")
    expect(switch).to_contain_text("Private")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(switch).to_contain_text("gpt-4o-mini at openai")

    chat.ask(QUESTION + " Answer anew.")
    told = chat.answers.last.locator(".aegis-told")
    expect(chat.answers).to_have_count(2)
    expect(told).to_be_visible()  # the turn is over
    turn = site.conversation(chat.conversation_id)["turns"][-1]
    assert len(cloud.chats) == 1
    assert turn["model"] == "gpt-4o-mini"
    assert turn["cost"] > 0
    assert turn["first_token_ms"] > 0
    expect(told).to_contain_text(f"gpt-4o-mini · {turn['tokens_in']} + {turn['tokens_out']} tokens · first token after")
    expect(told).to_contain_text(f"${turn['cost']:.6f}")
    expect(chat.page.locator("#aegis-money")).to_contain_text("The budget for openai of this day is nearly spent")

    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    chat.ask(QUESTION + " Once more.")
    expect(chat.answers).to_have_count(3)
    expect(chat.answers.last).to_contain_text("is private")
    assert len(cloud.chats) == 1


@MARK
def test_a_cited_document_is_marked_private_where_it_is_read(chat: Chat, site: Site, cloud: OpenAILike) -> None:
    """And its conversation with it, whose switch then cannot be moved."""
    calls = len(cloud.calls)
    for entry in site.api.get("/api/v1/documents").json()["documents"]:  # what an earlier attempt has left
        site.api.patch(f"/api/v1/documents/{entry['id']}", json={"private": False}).raise_for_status()
    chat.open().ask(QUESTION).idle()
    chat.sources.first.click()
    mark, switch = chat.page.locator(".aegis-private"), chat.page.locator("#aegis-sharing")
    expect(mark).to_have_attribute("aria-checked", "false")
    mark.click()
    expect(mark).to_contain_text("Private: never leaves this machine")
    expect(switch).to_contain_text("an answer here was made from a private document")
    expect(switch).to_be_disabled()
    expect(switch).to_have_attribute("aria-checked", "false")
    listed = site.api.get("/api/v1/documents").json()["documents"]
    assert [entry["private"] for entry in listed].count(True) == 1
    mark.click()
    expect(mark).to_contain_text("Keep this document on this machine")
    expect(switch).to_contain_text("this conversation stays on this machine")
    assert len(cloud.calls) == calls


@ASK
def test_a_cloud_call_is_offered_with_its_price_and_made_when_somebody_agrees(
    chat: Chat, site: Site, cloud: OpenAILike
) -> None:
    calls = len(cloud.chats)
    chat.open().ask(QUESTION).idle()
    offer = chat.answers.last.locator('[aria-label="Ask a cloud model"]')
    expect(offer).to_contain_text("gpt-4o-mini at openai could answer")
    expect(offer).to_contain_text("for at most $0.0")
    expect(offer).to_contain_text("No Ollama server answers")
    expect(chat.page.locator("#aegis-sharing")).to_have_count(0)
    assert len(cloud.chats) == calls
    offer.get_by_role("button").click()
    expect(chat.answers).to_have_count(2)
    chat.idle()
    expect(chat.answers.last.locator(".aegis-told")).to_contain_text("gpt-4o-mini")
    assert len(cloud.chats) == calls + 1


@ASK
def test_under_a_dropped_file_stands_what_reading_it_by_a_paid_model_takes(chat: Chat, cloud: OpenAILike) -> None:
    calls = len(cloud.chats)
    chat.open().attach("offices.md", b"# Offices\n\nOrion Labs opened an office in Lisbon in 2019.\n")
    chat.page.locator("#chat-submit").click()
    asked = chat.page.locator('[aria-label="Let a paid model read"]')
    expect(asked).to_contain_text("gpt-4o-mini at openai could read")
    expect(asked).to_contain_text("Until you agree nothing is sent.")
    assert len(cloud.chats) == calls
    mark = chat.page.locator(".aegis-uploads .aegis-private")
    expect(mark).to_have_attribute("aria-checked", "false")
    mark.click()
    expect(mark).to_contain_text("Private: never leaves this machine")
    asked.get_by_role("button").click()
    expect(asked).to_contain_text("They are read in the background.")


@MARK
def test_an_answer_is_judged_by_a_model_on_this_machine(site: Site, cloud: OpenAILike) -> None:
    calls = len(cloud.chats)
    body = {"question": "Who made it?", "answer": "Ada. [1]", "evidence": ["Ada made it."]}
    missing = site.api.post("/api/v1/models/judge", json=body)
    assert (missing.status_code, missing.json()["error"]["code"]) == (503, "model_unavailable")
    with running_model(site):
        site.ollama.script.append("CORRECT: the evidence says so.")
        judged = site.api.post("/api/v1/models/judge", json=body).raise_for_status().json()
    assert judged == {"grade": 1.0, "says": "the evidence says so.", "model": "llama3.2:3b"}
    assert len(cloud.chats) == calls


@MARK
def test_a_follow_up_is_worded_by_the_model_of_questions(site: Site) -> None:
    with running_model(site):
        first = site.api.post("/api/v1/chat", json={"question": "What is Qdrant Edge?"}).raise_for_status().json()
        site.ollama.script.append("Where does Qdrant Edge run?")
        asked = {"question": "Where does it run?", "conversation_id": first["conversation_id"]}
        site.api.post("/api/v1/chat", json=asked).raise_for_status()
        site.ollama.script.clear()
    turn = site.conversation(first["conversation_id"])["turns"][-1]
    assert any(step["detail"].get("standalone") == "Where does Qdrant Edge run?" for step in turn["steps"])
    prompts = [call.body["messages"][0]["content"] for call in site.ollama.chats]
    assert any("rewrite the last question" in prompt for prompt in prompts)


@contextmanager
def running_model(site: Site) -> Generator[None]:
    site.ollama.start()
    site.wait(lambda: "model" not in site.notices())
    try:
        yield
    finally:
        site.ollama.stop()
        site.wait(lambda: "model" in site.notices())


@MARK
def test_a_prompt_that_the_server_cut_is_an_error_and_no_answer(site: Site, browser: Browser) -> None:
    """By the API, whole and streamed, and on the page; what was written of it is not kept as an answer."""
    site.ollama.truncate_at = 64
    with running_model(site):
        whole = site.api.post("/api/v1/chat", json={"question": QUESTION, "fresh": True})
        assert (whole.status_code, whole.json()["error"]["code"]) == (502, "prompt_cut")
        assert "AEGIS_OLLAMA__NUM_CTX" in whole.json()["error"]["message"]
        events = site.api.post("/api/v1/chat/stream", json={"question": QUESTION, "fresh": True}).text
        assert "event: error" in events
        assert "prompt_cut" in events
        assert "event: done" not in events
        with chatting(site, browser) as chat:
            chat.open().ask(f"{QUESTION} Tell me.")
            expect(chat.answers.last).to_contain_text("the server cut it")
            turn = site.conversation(chat.conversation_id)["turns"][-1]
        assert (turn["state"], turn["answer"]) == ("failed", "")
    site.ollama.truncate_at = None
