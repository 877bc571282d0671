"""A wrong setting is named, and shown unless it may be a secret."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from aegis.cli import wrong_setting
from aegis.settings import Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"database": {"url": "postgresql://aegis:pa55word@db/aegis"}},  # without its kind
        {"graph": {"kind": "relational", "password": "pa55word"}},
        {"vectors": {"kind": "edge", "api_key": "pa55word"}},
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(wrong: dict[str, dict[str, str]]) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(wrong)
    message = wrong_setting(caught.value).message
    assert "pa55word" not in message
    assert "AEGIS_" in message


def test_another_value_is_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"port": 99999})
    assert "AEGIS_PORT=99999" in wrong_setting(caught.value).message
