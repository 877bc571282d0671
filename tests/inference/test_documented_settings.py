"""The settings that the documentation shows are taken as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aegis.settings import Settings
from inference.premises import is_cloud
from inference.prices import unpriced

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_ASSIGNED = re.compile(r"^(AEGIS_\w+)=(?:'([^']*)'|(\S*))$", re.MULTILINE)


def test_settings_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    assigned = [found for block in _BLOCK.findall(PAGE.read_text("utf-8")) for found in _ASSIGNED.findall(block)]
    assert len(assigned) == 12
    for name, quoted, plain in assigned:
        monkeypatch.setenv(name, quoted or plain)
    settings = Settings(_env_file=None)  # pyright: ignore[reportCallIssue] - pydantic-settings takes it
    assert [each.name for each in settings.providers if is_cloud(each, settings)] == ["dashscope", "openai"]
    assert settings.cloud.allowed
    assert settings.ollama.trusted_hosts == ("gpu1.lan", "gpu2.lan")
    assert unpriced(settings) == []
