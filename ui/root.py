"""Chainlit's application root, made in the data folder from `ui/site` at each start, and what it reads at import.

Chainlit writes into its root (uploads on their way, translations), so the root is never the package nor the folder
that somebody happens to stand in.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aegis.errors import ConfigurationError, DataFolderError
from aegis.folder import secret_in

PATH = "/chat"
SITE = Path(__file__).with_name("site")
SECRET_FILE = "page_secret"  # noqa: S105 (a file's name)
LANGUAGE = "en-US.json"
STALE_SECONDS = 24 * 3600  # uploads that a crash left behind

# What would have Chainlit fetch from elsewhere, log in otherwise or keep records in another place.
_FOREIGN = (
    "CHAINLIT_CUSTOM_AUTH", "CHAINLIT_URL", "CHAINLIT_DEBUG", "LITERAL_API_KEY", "DISCORD_BOT_TOKEN", "SLACK_BOT_TOKEN",
    "SLACK_SIGNING_SECRET", "SLACK_WEBSOCKET_TOKEN", "TEAMS_APP_ID", "TEAMS_APP_PASSWORD",
)  # fmt: skip


def prepare(folder: Path) -> Path:
    """Make the root and set what Chainlit reads from the environment when it is imported. Raises DataFolderError."""
    try:
        root = _filled(folder / "page")
        secret = secret_in(folder, SECRET_FILE)  # signs the page's login cookies
    except OSError as error:
        raise DataFolderError(
            f"The chat page's files cannot be written to {folder} ({error.strerror}). "
            "Choose another folder with AEGIS_DATA_DIR."
        ) from error
    for name in _FOREIGN:
        os.environ.pop(name, None)
    os.environ.update(
        CHAINLIT_APP_ROOT=str(root),
        CHAINLIT_ROOT_PATH=PATH,
        CHAINLIT_AUTH_SECRET=secret,
        # Cookies know no ports: two servers on one machine must not log each other's users out.
        CHAINLIT_AUTH_COOKIE_NAME="aegis_" + hashlib.sha256(secret.encode()).hexdigest()[:8],
        CHAINLIT_ENV_FILE=os.devnull,
    )
    return root


def _filled(root: Path) -> Path:
    settings = root / ".chainlit"
    words = settings / "translations" / LANGUAGE
    words.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SITE / "config.toml", settings / "config.toml")
    shutil.copyfile(SITE / "chainlit.md", root / "chainlit.md")
    words.write_text(json.dumps(_translation()), encoding="utf-8")
    shutil.copytree(SITE / "public", root / "public", dirs_exist_ok=True)
    for left in (root / ".files").glob("*"):
        if time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    return root


def _translation() -> dict[str, Any]:
    """Chainlit's own words with ours in place."""
    package = importlib.util.find_spec("chainlit")
    if package is None or package.origin is None:
        raise ConfigurationError("Chainlit is not installed; `make venv` installs what the chat page needs.")
    stock = json.loads((Path(package.origin).parent / "translations" / LANGUAGE).read_text(encoding="utf-8"))
    return _merged(stock, json.loads((SITE / "words.json").read_text(encoding="utf-8")))


def _merged(stock: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _merged(stock[key], value) if isinstance(value, dict) else value for key, value in ours.items()}
    return {**stock, **both}
