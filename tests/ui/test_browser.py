"""The page in a real browser before a real server: what somebody sees and does."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.ui.site import Chat, Site

pytestmark = pytest.mark.browser

QUESTION = "Why does AegisRAG run Qdrant Edge in a child process?"
LONG = " ".join(f"Word{number}" for number in range(60)) + " [1]."


def test_an_answer_comes_with_steps_and_a_citation_that_opens_its_passage(chat: Chat, site: Site) -> None:
    chat.open().ask(QUESTION).idle()
    expect(chat.answer).to_contain_text("child process")
    expect(chat.answers.last).to_contain_text("No language model is configured")
    steps = chat.unfold()
    for told in ("Question", "Search: 8 passages found", "Evidence: The passages answer it", "Check: "):
        expect(steps).to_contain_text(told)
    expect(chat.page.locator(".aegis-passage")).to_have_count(0)  # nothing pops open by itself

    chat.answer.locator('a[href^="#cite-"]').first.click()
    marks = chat.page.locator(".aegis-passage mark")
    expect(marks.first).to_be_visible()
    expect(chat.page.locator(".aegis-passage h3")).to_have_text("Qdrant and Qdrant Edge")
    cited = site.conversation(chat.conversation_id)["turns"][-1]["citations"]
    expect(chat.page.locator("a.aegis-original")).to_be_visible()
    assert marks.all_inner_texts() == [citation["quote"] for citation in cited if citation["marker"] == 1]
    address = chat.page.locator("a.aegis-original").get_attribute("href") or ""
    assert b"Qdrant Edge" in site.api.get(address).raise_for_status().content


def test_starters_come_from_the_documents_and_ask_when_clicked(chat: Chat) -> None:
    chat.open()
    starters = chat.page.locator('button[id^="starter-"]')
    expect(starters).to_have_count(4)
    asked = starters.first.inner_text()
    starters.first.click()
    chat.idle()
    expect(chat.page.locator('[data-step-type="user_message"]')).to_contain_text(asked)
    expect(chat.sources.first).to_be_visible()


def test_the_empty_page_says_what_mends_a_missing_model(chat: Chat) -> None:
    chat.open()
    expect(chat.page.locator("#aegis-welcome")).to_contain_text("ollama serve")


def test_follow_up_questions_ask(chat: Chat) -> None:
    chat.open().ask(QUESTION).idle()
    question = chat.page.locator('[aria-label="Go on with"] .aegis-followup').first.inner_text()
    chat.page.locator('[aria-label="Go on with"] .aegis-followup').first.click()
    expect(chat.page.locator('[data-step-type="user_message"]').last).to_contain_text(question)
    expect(chat.answers).to_have_count(2)


def test_feedback_is_kept_with_the_turn(chat: Chat, site: Site) -> None:
    chat.open().ask(QUESTION).idle()
    chat.page.locator("button.positive-feedback-off").last.click()
    chat.page.locator("textarea").last.fill("Just what I wanted")
    chat.page.locator("#submit-feedback").click()
    expect(chat.page.locator("button.positive-feedback-on")).to_be_visible()
    kept = site.conversation(chat.conversation_id)["turns"][-1]["feedback"]
    assert kept == {"value": 1, "comment": "Just what I wanted"}
    chat.page.reload()
    expect(chat.page.locator("button.positive-feedback-on")).to_be_visible()


def test_a_conversation_is_there_after_a_reload_and_goes_on(chat: Chat, site: Site) -> None:
    chat.open().ask(QUESTION).idle()
    first, identifier = chat.answer.inner_text(), chat.conversation_id
    chat.page.reload()
    expect(chat.answer).to_have_text(first)
    expect(chat.unfold()).to_contain_text(re.compile("8 passages found|Answered on"))  # another test may have asked it
    chat.sources.first.click()
    expect(chat.page.locator(".aegis-passage mark").first).to_be_visible()
    chat.ask("On which ports does a Qdrant server listen?")
    expect(chat.answers).to_have_count(2)
    chat.idle()
    assert chat.conversation_id == identifier
    assert len(site.conversation(identifier)["turns"]) == 2


def test_conversations_are_found_renamed_and_deleted_in_the_sidebar(chat: Chat, site: Site) -> None:
    chat.open().ask("What does a snapshot of an epoch mean, zebra?")
    identifier = chat.conversation_id
    chat.open()
    entry = chat.page.locator(f"#thread-{identifier}")
    entry.hover()
    entry.locator("#thread-options").click()
    chat.page.locator("#rename-thread").click()
    chat.page.locator("#name").fill("About zebras")
    chat.page.get_by_role("button", name="Confirm").click()
    expect(entry).to_contain_text("About zebras")
    assert site.conversation(identifier)["title"] == "About zebras"

    entry.click()
    expect(chat.page.locator('[data-step-type="user_message"]')).to_contain_text("zebra")
    chat.open()
    chat.page.locator("#search-chats-button").click()
    chat.page.locator("[cmdk-input]").fill("about zeb")
    expect(chat.page.locator("[cmdk-item]")).to_have_count(1)
    chat.page.keyboard.press("Escape")

    entry.hover()
    entry.locator("#thread-options").click()
    chat.page.locator("#delete-thread").click()
    chat.page.get_by_role("button", name="Confirm").click()
    expect(entry).to_have_count(0)
    assert site.api.get(f"/api/v1/conversations/{identifier}").status_code == 404


def test_words_come_one_after_another_while_steps_are_shown(chat: Chat, model: Site) -> None:
    model.ollama.script.append(LONG)
    chat.open().ask(QUESTION)
    expect(chat.page.locator('[data-step-type="tool"]').filter(has_text="Writing …").last).to_be_visible()
    lengths = set[int]()
    expect(chat.answer).to_contain_text("Word1")
    while len(text := chat.answer.inner_text()) < 100:
        lengths.add(len(text))
        chat.page.wait_for_timeout(100)
    assert len(lengths) >= 6
    model.ollama.tokens_per_second = 1000
    chat.idle()
    expect(chat.page.locator('[data-step-type="tool"]').filter(has_text="steps").last).to_be_visible()


def test_an_answer_goes_on_when_its_page_is_closed(chat: Chat, model: Site) -> None:
    model.ollama.script.append(LONG)
    chat.open().ask(QUESTION)
    expect(chat.answer).to_contain_text("Word5")
    address = chat.page.url
    chat.page.close()

    again = Chat(chat.page.context.new_page(), model).open(address.removeprefix(model.url))
    expect(again.page.locator("#stop-button")).to_be_visible()
    expect(again.answer).to_contain_text("Word10")
    seen = len(again.answer.inner_text())
    assert seen < len(LONG)
    again.idle()
    turns = model.conversation(again.conversation_id)["turns"]
    assert [turn["state"] for turn in turns] == ["done"]
    expect(again.answers).to_have_count(1)


def test_stop_keeps_what_was_written(chat: Chat, model: Site) -> None:
    model.ollama.script.append(LONG)
    chat.open().ask(QUESTION)
    expect(chat.answer).to_contain_text("Word4")
    chat.page.locator("#stop-button").click()
    chat.idle()
    expect(chat.answer).to_contain_text("Word4")
    expect(chat.answers.last).to_contain_text("Stopped")
    turn = model.conversation(chat.conversation_id)["turns"][-1]
    assert turn["state"] == "stopped"
    assert "Word4" in turn["answer"]
    assert "Word59" not in turn["answer"]
    chat.page.reload()
    expect(chat.answers.last).to_contain_text("Stopped")


def test_an_uploaded_file_can_be_asked_about_and_got_back(chat: Chat, site: Site) -> None:
    chat.open()
    original = b"# Gardening\n\n## Tomatoes\n\nThe tomatoes of Oakhaven are watered every ninth day.\n"
    chat.attach("gardening.md", original)
    chat.ask("How often are the tomatoes of Oakhaven watered?")
    uploads = chat.page.locator(".aegis-uploads")
    expect(uploads).to_contain_text("gardening.md")
    expect(uploads.locator('li[data-state="done"]')).to_be_visible()
    expect(chat.page.locator('[data-step-type="assistant_message"]').last).to_contain_text("every ninth day")
    expect(chat.sources.first).to_contain_text("Gardening")
    address = uploads.locator("li a").get_attribute("href") or ""
    assert site.api.get(address).raise_for_status().content == original
    assert list((site.folder / "page" / ".files").glob("*/*")) == []  # kept with the documents only


def test_a_file_that_is_refused_says_why(chat: Chat) -> None:
    chat.open()
    chat.attach("broken.pdf", b"%PDF-1.7\nnot much of a document", "application/pdf")
    chat.page.locator("#chat-submit").click()
    refused = chat.page.locator('.aegis-uploads li[data-state="failed"]')
    expect(refused).to_contain_text("broken.pdf")
    expect(refused.locator(".aegis-note")).to_have_text(re.compile(r"\w{3,}.*\."))
    expect(chat.answers.last).to_contain_text("could not be added")


def test_an_empty_file_is_refused_at_once(chat: Chat, site: Site) -> None:
    chat.open()
    empty = {"name": "empty.md", "mimeType": "text/markdown", "buffer": b""}
    chat.page.locator("#upload-button-input").set_input_files([empty])  # pyright: ignore[reportArgumentType]
    expect(chat.page.locator("[data-sonner-toast]")).to_contain_text("The file is empty")
    assert all("/project/file" in trouble or "400" in trouble for trouble in site.troubles)
    site.troubles.clear()


HOSTILE = """# Quarterly <img src=x onerror="window.pwned=1"> **report** [click](http://evil.example/title)

The zygomorphic festival is nine days of music. The zygomorphic festival is told in [a link](http://evil.example/link)
for everybody in the town to read. It is <b>bold</b> <script>window.pwned = 1</script> in the zygomorphic festival that
![a picture](http://evil.example/pixel.png) shows.
"""


def test_hostile_text_of_a_document_is_shown_as_text(chat: Chat) -> None:
    chat.open()
    chat.attach("hostile.txt", HOSTILE.encode(), "text/plain")
    chat.ask("What is the zygomorphic festival?")
    expect(chat.answers.last).to_contain_text("nine days")
    expect(chat.sources.first).to_be_visible()
    chat.unfold().locator("button").filter(has_text="Search").click()
    chat.sources.first.click()
    expect(chat.page.locator(".aegis-passage blockquote")).to_contain_text("<script>")
    _unharmed(chat)


def test_what_a_model_is_made_to_write_is_harmless(chat: Chat, model: Site) -> None:
    model.ollama.tokens_per_second = 500
    model.ollama.script.append(
        "**Bold** [1] ![pixel](http://evil.example/pixel.png) [link](http://evil.example/a) <img src=x>"
        " <script>window.pwned = 1</script> www.evil.example <http://evil.example/b> [ref][x]\n\n[x]: http://evil.example/c\n\n`code`"
    )
    chat.open().ask(QUESTION).idle()
    _unharmed(chat)
    chat.page.reload()
    expect(chat.answer).to_be_visible()
    _unharmed(chat)


def _unharmed(chat: Chat) -> None:
    assert chat.page.evaluate("window.pwned") is None
    links = chat.page.locator(".step a, .aegis-passage a").evaluate_all(
        "all => all.map(one => one.getAttribute('href'))"
    )
    assert [link for link in links if not link.startswith(("#cite-", "/api/v1/documents/"))] == []
    images = chat.page.locator(".step img, .aegis-passage img").evaluate_all("all => all.map(one => one.src)")
    assert [source for source in images if "/chat/avatars/" not in source] == []


def test_the_page_fits_a_telephone(site: Site, chat: Chat, browser: Browser) -> None:
    chat.page.set_viewport_size({"width": 390, "height": 780})
    chat.open().ask(QUESTION).idle()
    chat.sources.first.click()
    expect(chat.page.locator(".aegis-passage mark").first).to_be_visible()
    assert chat.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_socket_is_a_websocket_and_refuses_other_sites(chat: Chat, site: Site) -> None:
    sockets = list[str]()
    chat.page.on("websocket", lambda socket: sockets.append(socket.url))
    chat.open().ask(QUESTION).idle()
    assert any("/chat/ws/socket.io/" in url for url in sockets)
    path = "/chat/ws/socket.io/?EIO=4&transport=polling"
    assert site.api.get(path).status_code == 200
    assert site.api.get(path, headers={"Origin": "http://evil.example"}).status_code == 403
    assert site.api.get(path, headers={"Host": "evil.example"}).status_code == 403
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": "http://evil.example",
    }
    with httpx.Client(base_url=site.url) as client:
        assert client.get(path.replace("polling", "websocket"), headers=upgrade).status_code == 403


def test_nothing_is_written_where_the_server_was_started(chat: Chat, site: Site) -> None:
    chat.open()
    assert list(site.working.iterdir()) == []
    assert (site.folder / "page_secret").stat().st_mode & 0o777 == 0o600
    secret = (site.folder / "page_secret").read_text()
    assert secret not in (site.folder.parent / "server.log").read_text(encoding="utf-8")
