"""What the graph led to, drawn under an answer, and facts that are put right there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from aegis.scope import derived_id, group_id
from tests.ui.site import Chat, Site

pytestmark = pytest.mark.browser

CHAIN = (
    "# Chain\n\nMeridian Works uses Lantern Press. Lantern Press uses Copper Bay Bank. "
    "Copper Bay Bank uses Tidewater Lab. Meridian Works owns Quarry Hill."
)
RELATED = "How is Meridian Works related to Tidewater Lab?"


def _ingest(site: Site, text: str, title: str) -> None:
    body = {"documents": [{"source": f"{title}.md", "text": text, "title": title}]}
    job = site.api.post("/api/v1/retrieval/ingest", json=body).raise_for_status().json()["job_id"]
    site.wait(lambda: site.api.get(f"/api/v1/retrieval/jobs/{job}").json()["state"] == "done", 60)


def test_the_way_is_drawn_and_facts_are_put_right_from_the_page(chat: Chat, site: Site, tmp_path: Path) -> None:
    _ingest(site, CHAIN, "<img src=x onerror=alert(1)> Chain")
    chat.open().ask(RELATED).idle()
    picture = chat.answers.last.locator(".aegis-ways svg")
    expect(picture).to_be_visible()
    names = picture.locator("text").all_text_contents()
    assert names[:4] == ["Meridian Works", "Lantern Press", "Copper Bay Bank", "Tidewater Lab"]
    assert "Meridian Works → Lantern Press" in (picture.get_attribute("aria-label") or "")
    facts = chat.answers.last.locator(".aegis-graph li")
    chat.answers.last.locator(".aegis-graph summary").click()
    chat.page.screenshot(path=str(tmp_path / "graph.png"))
    expect(facts.filter(has_text="Meridian Works uses Lantern Press.")).to_be_visible()

    wrong = facts.filter(has_text="Lantern Press uses Copper Bay Bank.")
    wrong.get_by_role("button", name="Correct").click()
    wrong.locator("input").fill("Lantern Press uses Copper Bay Trust.")
    wrong.get_by_role("button", name="Save").click()
    expect(facts.filter(has_text="Copper Bay Trust")).to_contain_text("Corrected.")

    denied = facts.filter(has_text="Copper Bay Bank uses Tidewater Lab.")
    denied.get_by_role("button", name="That is wrong").click()
    expect(denied).to_contain_text("Forgotten")
    confirmed = facts.filter(has_text="Meridian Works uses Lantern Press.")
    confirmed.get_by_role("button", name="Right").click()
    expect(confirmed).to_contain_text("Confirmed.")
    chat.page.screenshot(path=str(tmp_path / "corrected.png"))

    found = site.api.post("/api/v1/memory/search", json={"query": "Lantern Press, Copper Bay Bank", "limit": 50}).json()
    told = {fact["text"]: fact for fact in found["facts"]}
    assert "Lantern Press uses Copper Bay Trust." in told
    assert "Copper Bay Bank uses Tidewater Lab." not in told
    assert "Lantern Press uses Copper Bay Bank." not in told

    chat.page.reload()
    expect(chat.answers.last.locator(".aegis-ways svg")).to_be_visible()  # history shows it, too
    expect(chat.page.locator("img[src='x']")).to_have_count(0)


def test_an_answer_called_wrong_offers_the_facts_it_rested_on(chat: Chat, site: Site, tmp_path: Path) -> None:
    text = "# Harbour\n\nSolveig Marine owns Kestrel Dock. Kestrel Dock uses Basalt Crane."
    _ingest(site, text, "Harbour")
    chat.open().ask("Who owns Kestrel Dock?").idle()
    chat.ask("Das stimmt nicht.")
    expect(chat.answer).to_contain_text("Nothing has been changed")
    expect(chat.answer).to_contain_text("Solveig Marine owns Kestrel Dock.")
    fact = chat.answers.last.locator(".aegis-graph li").filter(has_text="Solveig Marine owns Kestrel Dock.")
    expect(fact).to_be_visible()  # unfolded, as that is what it is about
    chat.page.screenshot(path=str(tmp_path / "wrong.png"))
    query = {"query": "Kestrel Dock", "limit": 50}
    told = [one["text"] for one in site.api.post("/api/v1/memory/search", json=query).json()["facts"]]
    assert "Solveig Marine owns Kestrel Dock." in told  # nothing happens by itself

    fact.get_by_role("button", name="That is wrong").click()
    expect(fact).to_contain_text("Forgotten")
    told = [one["text"] for one in site.api.post("/api/v1/memory/search", json=query).json()["facts"]]
    assert "Solveig Marine owns Kestrel Dock." not in told


def test_what_a_model_claimed_and_was_held_back_is_decided_beside_the_facts(chat: Chat, site: Site) -> None:
    """The claims are put where a reader leaves them: no model is here."""
    _ingest(site, "# Fleet\n\nAurelia Lines owns Tern Ferry. Tern Ferry uses Slate Pier.", "Fleet")
    hits = site.api.post("/api/v1/retrieval/search", json={"query": "Tern Ferry"}).json()["hits"]
    hit = next(hit for hit in hits if hit["title"] == "Fleet")
    _claimed(site, hit, "SOLD", "Aurelia Lines sold Slate Pier.")
    _claimed(site, hit, "BELONGS_TO", "Slate Pier belongs to Aurelia Lines.")
    chat.open().ask("How is Aurelia Lines related to Slate Pier?").idle()
    held = chat.answers.last.locator(".aegis-claims")
    expect(held.locator("summary")).to_have_text("2 claims of a model, held back")
    held.locator("summary").click()
    right = held.locator("li").filter(has_text="belongs to")
    right.get_by_role("button", name="It is right").click()
    expect(right).to_contain_text("A fact now")
    wrong = held.locator("li").filter(has_text="sold")
    wrong.get_by_role("button", name="Discard").click()
    expect(wrong).to_contain_text("Discarded.")
    found = site.api.post("/api/v1/memory/search", json={"query": "Slate Pier", "limit": 50}).json()["facts"]
    told = [fact["text"] for fact in found]
    assert "Slate Pier belongs to Aurelia Lines." in told
    assert "Aurelia Lines sold Slate Pier." not in told
    assert site.api.get("/api/v1/memory/quarantine").json()["facts"] == []


def _claimed(site: Site, hit: dict[str, Any], relation: str, text: str) -> None:
    row = {"id": derived_id("quarantined", text), "group_id": group_id("d", "default"), "collection": "default"}
    row |= {"episode_id": hit["chunk_id"], "version_id": hit["version_id"], "relation": relation, "text": text}
    row |= {"subject": "Aurelia Lines", "object": "Slate Pier", "quote": "", "model": "gemma3:4b", "at": 0}
    row |= {"reason": "The sentence does not say it.", "state": "held"}
    places = ", ".join(f":{name}" for name in row)
    with closing(sqlite3.connect(site.folder / "aegis.sqlite", timeout=20)) as store, store:
        store.execute(f"INSERT OR REPLACE INTO quarantined_facts ({', '.join(row)}) VALUES ({places})", row)
