"""The page's HTML asks no other machine, and could not."""

from __future__ import annotations

import re

from ui.index import offline, policy

STOCK = """<head>
<link rel="preconnect" href="https://fonts.googleapis.com" />
<link
  href="https://fonts.example/css2?family=Inter"
  rel="stylesheet"
/>
<meta property="og:image" content="https://elsewhere.example/banner.png">
<link rel="icon" href="/chat/favicon" />
<script>window.theme = 1</script>
<script src="https://cdn.example/x.js"></script>
<script type="module" src="/chat/assets/index.js"></script>
</head>"""


def test_what_other_machines_would_be_asked_for_is_dropped() -> None:
    html = offline(STOCK)
    assert "https://" not in html
    assert "/chat/favicon" in html
    assert "/chat/assets/index.js" in html


def test_the_real_page_names_no_other_machine() -> None:
    from chainlit.server import get_html_template

    html = offline(str(get_html_template("/chat")))
    assert re.findall(r"https?://[^\s\"']+", html) == []
    assert '<div id="root">' in html


def test_the_policy_allows_this_page_and_its_own_scripts_only() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in policy("<script>one</script><script>two</script>").split(";"))
    assert rules["default-src"] == "'self'"
    assert rules["connect-src"] == "'self'"
    assert "http" not in policy("<script>one</script>")
    assert len(re.findall(r"'sha256-[\w+/=]+'", rules["script-src"])) == 2
    assert "unsafe-inline" not in rules["script-src"]
