"""Chainlit reads its folder when it is imported, so that is settled here, before any test module imports it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.ollama import running_ollama_like
from tests.ui.site import CHROMIUM, FLAGS, Chat, Site, running_site
from ui import root

_FOLDER = tempfile.TemporaryDirectory(prefix="aegis-page-")
root.prepare(Path(_FOLDER.name))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Chainlit's own imports
    import chainlit.server  # noqa: F401  # pyright: ignore[reportUnusedImport]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    if CHROMIUM is None:
        pytest.skip("The browser tests need Debian's `chromium` in the path.")
    with running_ollama_like(started=False) as ollama:
        home = tmp_path_factory.mktemp("site")
        working = home / "working"
        working.mkdir()
        with running_site(home / "data", working, ollama) as running:
            yield running


@pytest.fixture(scope="module")
def browser(site: Site) -> Generator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def chat(site: Site, browser: object) -> Generator[Chat]:
    with chatting(site, browser) as opened:
        yield opened


@contextmanager
def chatting(site: Site, browser: object) -> Generator[Chat]:
    """A fresh browser profile. No test may make the page ask another machine or complain."""
    from playwright.sync_api import Browser, expect

    assert isinstance(browser, Browser)
    site.foreign.clear()
    site.troubles.clear()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    site.watch(context)
    try:
        yield Chat(context.new_page(), site)
    finally:
        context.close()
    assert site.foreign == []
    assert site.troubles == []


@pytest.fixture
def model(site: Site) -> Generator[Site]:
    """With a language model, which writes slowly."""
    site.ollama.script.clear()
    site.ollama.tokens_per_second = 5
    site.ollama.start()
    site.wait(lambda: "model" not in site.notices())
    yield site
    site.ollama.stop()
    site.wait(lambda: "model" in site.notices())
