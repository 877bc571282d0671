"""A real `aegis serve` process with a browser before it: what the browser tests stand on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Response, expect

from tests.servers import free_port
from tests.servers.ollama import OllamaLike

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
READY_SECONDS = 60
TYPED_AGAIN = 8


@dataclass
class Site:
    """Where the server is, and everything its pages asked for."""

    url: str
    folder: Path
    working: Path  # the folder the server was started in
    api: httpx.Client
    ollama: OllamaLike
    foreign: list[str] = field(default_factory=list[str])
    troubles: list[str] = field(default_factory=list[str])

    def watch(self, context: BrowserContext) -> None:
        context.on("request", self._requested)
        context.on("response", self._answered)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.troubles.append(str(error.error)))

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        return self.api.get(f"/api/v1/conversations/{conversation_id}").raise_for_status().json()

    def wait(self, holds: Callable[[], bool], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "what was waited for did not come"
            time.sleep(0.05)

    def notices(self) -> list[str]:
        return [notice["kind"] for notice in self.api.get("/chat/notices").raise_for_status().json()["notices"]]

    def _requested(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"{response.status} {response.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "DialogTitle" not in message.text:  # Chainlit's own, on telephones
            self.troubles.append(message.text)


@contextmanager
def running_site(folder: Path, working: Path, ollama: OllamaLike, **settings: str) -> Generator[Site]:
    """`aegis serve` on a new data folder, started in `working`, with its sample documents in."""
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AEGIS_", "CHAINLIT_"))},
        "AEGIS_DATA_DIR": str(folder),
        "AEGIS_PORT": str(port),
        "AEGIS_OLLAMA__URL": ollama.url,
        "AEGIS_OLLAMA__PROBE_INTERVAL": "0.3",
        "AEGIS_INGESTION__MAX_FILE_BYTES": "3000000",
        **settings,
    }
    command = [sys.executable, "-c", "from aegis.cli import main; main()", "serve"]
    log = (folder.parent / "server.log").open("wb")
    process = subprocess.Popen(command, cwd=working, env=environment, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=10) as api:
            site = Site(url, folder, working, api, ollama)
            site.wait(lambda: _ready(process, api, folder.parent / "server.log"), READY_SECONDS)
            yield site
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _ready(process: subprocess.Popen[bytes], api: httpx.Client, log: Path) -> bool:
    assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
    try:
        answer = api.get("/chat/notices")
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and "samples" not in answer.text


class Chat:
    """The page as somebody uses it."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site

    def open(self, path: str = "/chat") -> Chat:
        self.page.goto(self.site.url + path)
        expect(self.page.locator("#chat-input")).to_be_visible()
        self.type("Is the page connected?")  # only then can a question be sent, or a file
        self.page.keyboard.press("Control+A")
        self.page.keyboard.press("Delete")
        return self

    def ask(self, question: str) -> Chat:
        self.type(question)
        self.page.keyboard.press("Enter")
        return self

    def type(self, text: str) -> None:
        """Type `text` until it stands there and can be sent: a page that is still opening a conversation replaces its
        box, and a person types again."""
        ready = self.page.locator("#chat-submit:enabled, #stop-button:enabled").first
        for _ in range(TYPED_AGAIN):
            self.page.locator("#chat-input").click()
            self.page.keyboard.press("Control+A")
            self.page.keyboard.insert_text(text)
            with suppress(AssertionError):
                expect(ready).to_be_visible(timeout=3_000)
                return
        box = self.page.locator("#chat-input")
        raise AssertionError(f"{box.inner_text()!r} cannot be sent: {self.page.locator('body').aria_snapshot()}")

    def attach(self, name: str, data: bytes, kind: str = "text/markdown") -> None:
        chosen = {"name": name, "mimeType": kind, "buffer": data}
        self.page.locator("#upload-button-input").set_input_files([chosen])  # pyright: ignore[reportArgumentType]
        expect(self.page.locator("#attachments")).to_contain_text(name.rpartition(".")[0])

    @property
    def answers(self) -> Locator:
        return self.page.locator('[data-step-type="assistant_message"]')

    @property
    def answer(self) -> Locator:
        return self.answers.last.locator(".message-content .prose").first

    @property
    def sources(self) -> Locator:
        return self.answers.last.locator(".aegis-source")

    def idle(self) -> Chat:
        """Wait until nothing is being answered any more."""
        expect(self.page.locator("#chat-submit")).to_be_visible(timeout=20_000)
        expect(self.answers.last.locator(".aegis-below, .aegis-uploads")).to_be_visible(timeout=20_000)
        return self

    @property
    def conversation_id(self) -> str:
        self.page.wait_for_url(re.compile(r"/chat/thread/"))
        return self.page.url.rpartition("/")[2]

    def unfold(self) -> Locator:
        """The steps of the last answer."""
        trail = self.page.locator('[data-step-type="tool"]').filter(has_text="steps").last
        trail.locator("button").first.click()
        return trail
