"""What doctor says of cloud models and of an embedder elsewhere, before anything is asked or sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegis.cli.doctor import Finding, examine
from aegis.settings import Settings

OPENAI = {"kind": "openai", "api_key": "k"}
MINE = {"kind": "compatible", "url": "http://127.0.0.1:8080/v1", "model": "m"}


def found(what: str, **given: Any) -> Finding:
    settings = Settings.model_validate({"ollama": {"url": "http://127.0.0.1:9"}, **given})
    return next(finding for finding in examine(settings) if finding.what == what)


@pytest.mark.parametrize(
    ("providers", "cloud", "state", "says"),
    [
        ([], {}, "ok", "nothing leaves"),
        ([MINE], {"allowed": True}, "ok", "nothing leaves"),
        ([OPENAI], {}, "ok", "AEGIS_CLOUD__ALLOWED is not set"),
        ([OPENAI], {"allowed": True}, "problem", "no price for gpt-4o-mini"),
        ([OPENAI], {"allowed": True, "prices": {"gpt-4o-mini": [1, 2]}}, "ok", "budgets"),
    ],
)
def test_cloud_models(providers: list[dict[str, str]], cloud: dict[str, Any], state: str, says: str) -> None:
    finding = found("Cloud models", providers=providers, cloud=cloud)
    assert (finding.state, says in finding.says) == (state, True)
    assert ("AEGIS_CLOUD__PRICES" in finding.mend) is (state == "problem")


def test_an_embedder_elsewhere_is_a_problem_before_anything_is_sent() -> None:
    embedder = {"kind": "openai", "url": "https://embeddings.invalid/v1"}
    finding = found("Embedding model", embedder=embedder)
    assert finding.state == "problem"
    assert "private" in finding.says


def test_a_reranking_model_that_is_not_there_is_a_problem_with_its_setting(tmp_path: Path) -> None:
    assert found("Reranking").state == "ok"
    finding = found("Reranking", reranker={"kind": "onnx", "folder": str(tmp_path)})
    assert (finding.state, "AEGIS_RERANKER__FOLDER" in finding.says) == ("problem", True)
