"""Files of conversations on the page, receipts, and answers that were given before."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.ui.site import Chat, Site

pytestmark = pytest.mark.browser

QUESTION = "On which ports does a Qdrant server listen?"


def shot(chat: Chat, name: str) -> None:
    """AEGIS_TEST_SCREENSHOTS names a folder to look at afterwards."""
    if folder := os.environ.get("AEGIS_TEST_SCREENSHOTS"):
        chat.page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_a_known_answer_says_so_and_is_given_anew_without_a_trace_of_how(chat: Chat, site: Site) -> None:
    chat.open().ask(QUESTION).idle()
    chat.ask(QUESTION)
    expect(chat.answers).to_have_count(2)
    chat.idle()
    expect(chat.answers.last).to_contain_text("Known answer: given")
    shot(chat, "known")
    chat.page.get_by_role("button", name="Answer anew").last.click()
    expect(chat.answers).to_have_count(3)
    chat.idle()
    expect(chat.answers.last).not_to_contain_text("Known answer")
    asked = chat.page.locator('[data-step-type="user_message"]')
    expect(asked).to_have_count(3)
    expect(asked.last).to_have_text(QUESTION)
    assert [turn["question"] for turn in site.conversation(chat.conversation_id)["turns"]] == [QUESTION] * 3


def test_a_conversation_is_saved_deleted_with_a_receipt_and_taken_in_again(
    chat: Chat, site: Site, tmp_path: Path
) -> None:
    chat.open().ask("What does a snapshot of an epoch mean, giraffe?").idle()
    identifier = chat.conversation_id
    files = chat.page.locator("#aegis-files")
    saved = tmp_path / "talk.jsonl"
    with chat.page.expect_download() as markdown:
        files.get_by_role("link", name="Markdown").click()
    assert "giraffe" in Path(markdown.value.path()).read_text("utf-8")
    with chat.page.expect_download() as lines:
        files.get_by_role("link", name="JSON lines").click()
    lines.value.save_as(saved)
    assert [next(iter(json.loads(line))) for line in saved.read_text("utf-8").splitlines()] == ["format", "turn"]
    shot(chat, "saved")

    entry = chat.page.locator(f"#thread-{identifier}")
    entry.hover()
    entry.locator("#thread-options").click()
    chat.page.locator("#delete-thread").click()
    chat.page.get_by_role("button", name="Confirm").click()
    said = chat.page.locator("#aegis-said")
    expect(said).to_contain_text("giraffe?” is erased: 1 turn, 0 archive files, 0 facts")
    expect(said).to_contain_text("cached answers")
    shot(chat, "receipt")

    chat.open()
    with chat.page.expect_file_chooser() as chooser:
        files.get_by_role("button", name="Import").click()
    chooser.value.set_files(saved)
    expect(said).to_contain_text("Taken in: 1 conversation, 1 turn; 0 were here.")
    expect(chat.page.locator(f"#thread-{identifier}")).to_be_visible()
    shot(chat, "taken-in")
    assert site.conversation(identifier)["turns"][0]["question"].endswith("giraffe?")

    with chat.page.expect_file_chooser() as chooser:
        files.get_by_role("button", name="Import").click()
    chooser.value.set_files({"name": "x.jsonl", "mimeType": "text/plain", "buffer": b"<b>no</b>"})
    expect(said).to_contain_text("Line 1 is no JSON")
    site.troubles.clear()  # the browser tells of the refusal


def test_an_answer_that_would_be_different_today_says_what_changed(chat: Chat, site: Site) -> None:
    ingest(site, "The furnace of hall nine is maintained by Anna Berg.")
    chat.open().ask("Who maintains the furnace of hall nine?").idle()
    expect(chat.answer).to_contain_text("Anna Berg")
    identifier = chat.conversation_id
    ingest(site, "The furnace of hall nine is maintained by Jon Dahl.")
    site.wait(lambda: recalled(site, identifier) == "different")
    chat.open(f"/chat/thread/{identifier}")
    today = chat.page.locator(".aegis-today")
    expect(today).to_contain_text("This answer would be different today")
    expect(today.locator("del")).to_contain_text("Anna Berg")
    expect(today.locator("ins")).to_contain_text("Jon Dahl")
    shot(chat, "today")
    today.get_by_role("button", name="Ask again").click()
    expect(chat.answers).to_have_count(2)
    chat.idle()
    expect(chat.answer).to_contain_text("Jon Dahl")


def ingest(site: Site, text: str) -> None:
    body = {"documents": [{"source": "furnace.md", "text": text}]}
    job = site.api.post("/api/v1/retrieval/ingest", json=body).raise_for_status().json()["job_id"]
    site.wait(lambda: site.api.get(f"/api/v1/retrieval/jobs/{job}").json()["state"] == "done")


def recalled(site: Site, identifier: str) -> str:
    return (site.conversation(identifier)["turns"][0]["recalled"] or {}).get("state", "")
