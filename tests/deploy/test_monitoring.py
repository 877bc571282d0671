"""Dashboard and alerts, against a real Prometheus that scrapes the application under load."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from evals.bench.server import ROOT
from tests.deploy.use import DASHBOARD, use
from tests.servers import ServerMissing
from tests.servers.ollama import OllamaLike, running_ollama_like
from tests.servers.prometheus import running_prometheus
from tests.system.application import Site, eventually

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text("utf-8"))
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
PATIENCE = 60.0


@dataclass(frozen=True)
class Watched:
    site: Site
    model: OllamaLike
    prometheus: str

    def ask(self, path: str, **parameters: str) -> Any:
        return httpx.get(f"{self.prometheus}/api/v1/{path}", params=parameters, trust_env=False).json()["data"]

    def query(self, expression: str) -> list[Any]:
        return self.ask("query", query=expression)["result"]

    def firing(self) -> set[tuple[str, str]]:
        """Alerts with the backend they name."""
        found = (each for each in self.ask("alerts")["alerts"] if each["state"] == "firing")
        return {(each["labels"]["alertname"], each["labels"].get("backend", "")) for each in found}


def test_each_alert_leads_to_a_paragraph() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    headings = {re.sub(r"[^\w -]", "", line[4:].lower()).replace(" ", "-") for line in page.splitlines()}
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"].partition("#")[2] in headings, f"no runbook for {name}"


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = yaml.safe_load((PROMETHEUS / "rules_test.yaml").read_text("utf-8"))["tests"]
    seen = {(each["alertname"], bool(each["exp_alerts"])) for case in cases for each in case["alert_rule_test"]}
    assert seen == {(name, fires) for name in ALERTS for fires in (True, False)}


@pytest.mark.servers
def test_the_rules_hold_their_cases() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus).")
    done = subprocess.run(
        ["promtool", "test", "rules", str(PROMETHEUS / "rules_test.yaml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def watched(tmp_path: Path) -> Generator[Watched]:
    """A server with a model, and a Prometheus with our rules, in which minutes are seconds."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(re.sub(r"for: \d+[mh]", "for: 2s", (PROMETHEUS / "rules.yaml").read_text("utf-8")), "utf-8")
    with running_ollama_like() as model:
        site = Site(tmp_path / "var", {"AEGIS_OLLAMA__URL": model.url, "AEGIS_OLLAMA__PROBE_INTERVAL": "1"})
        site.start()
        try:
            with running_prometheus(site.port, rules) as prometheus:
                yield Watched(site, model, prometheus)
        except ServerMissing as missing:
            pytest.skip(str(missing))
        finally:
            site.stop()


@pytest.mark.servers
def test_no_panel_is_empty_under_load(watched: Watched) -> None:
    use(watched.site, 8)
    for title, expression in QUERIES:
        expression = expression.replace("$__rate_interval", "30s")
        assert watched.query(expression), f"the panel {title!r} is empty: {expression}"


@pytest.mark.servers
def test_a_lost_model_fires_an_alert_and_its_return_resolves_it(watched: Watched) -> None:
    alert = ("AegisBackendDown", "model")

    def up() -> bool:
        return any(one["value"][1] == "1" for one in watched.query('aegis_backend_up{backend="model"}'))

    eventually(up, PATIENCE)
    assert alert not in watched.firing()
    watched.model.stop()
    eventually(lambda: alert in watched.firing(), PATIENCE)
    watched.model.start()
    eventually(lambda: alert not in watched.firing(), PATIENCE)
