"""What text of documents and models may become in the page's markdown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ui import markup

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NASTY = [
    "[a](http://evil.example)", "![a](http://evil.example/p.png)", "<img src=x onerror=1>", "<http://evil.example>",
    "[a]: http://evil.example\n[a]", "` [a](http://evil.example) `", "```\n[a](http://evil.example)\n```",
    "`\n[a](http://evil.example) `", "| ` | [a](http://evil.example) ` |\n|-|-|\n", "~~~\n[a](http://evil.example)",
    "- `\n- [a](http://evil.example) `", "\\`[a](http://evil.example)`", "<!-- ", "<script>", "[^1]: note", "# head",
    ":name[a]{b}", "::name", "www.evil.example", "a@evil.example", "javascript:alert(1)", "&lt;b&gt;", "[1]", "[12]",
]  # fmt: skip


def harmful(markdown: str) -> list[str]:
    """Everything in it that links, loads or is HTML, but for citation marks."""
    tokens = [inner for token in PARSER.parse(markdown) for inner in (token, *(token.children or []))]
    found = [token.type for token in tokens if token.type in ("image", "html_inline", "html_block")]
    links = [str(token.attrs.get("href")) for token in tokens if token.type == "link_open"]
    return found + [link for link in links if not link.startswith("#cite-")]


def shown(markdown: str) -> str:
    """The text that a reader sees."""
    inline = [child for token in PARSER.parse(markdown) for child in token.children or []]
    return "".join("\n" if child.type == "softbreak" else child.content for child in inline)


@pytest.mark.parametrize("text", NASTY)
def test_nothing_harmful_is_left(text: str) -> None:
    assert harmful(markup.plain(text, "turn")) == []
    assert harmful(markup.formatted(text, "turn")) == []


PIECES = [*NASTY, *" \n|x*_", "\n\n", "`", "``", "```", "~~~", "- ", "> ", "    ", "\r", "\t"]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_nothing_harmful_is_left_however_it_is_put_together(parts: list[str]) -> None:
    text = "".join(parts)
    assert harmful(markup.plain(text, "turn")) == []
    assert harmful(markup.formatted(text, "turn")) == []


@pytest.mark.parametrize(
    "text", ["**not bold** _nor this_", "# no heading", "1. no list", "a < b & c > d", "it's 10:30!"]
)
def test_plain_text_is_shown_as_it_stands(text: str) -> None:
    assert shown(markup.plain(text)) == text


def test_addresses_are_shown_but_lead_nowhere() -> None:
    assert markup.plain("See https://a.example/b?c=d now") == "See `https://a.example/b?c=d` now"
    assert markup.formatted("Mail me@a.example.") == "Mail `me@a.example`."


def test_citation_marks_open_their_citation() -> None:
    assert markup.plain("So it is. [1] And [12].", "t") == r"So it is\. [1](#cite-t-1) And [12](#cite-t-12)\."
    assert markup.formatted("So [1].", "t") == "So [1](#cite-t-1)."
    assert markup.plain("[1]") == r"\[1\]"


def test_a_model_may_format() -> None:
    text = "**Bold**, *soft*\n\n- one\n- two\n\n```python\na[1](b) < c\n```\n\nand `x[0]`"
    assert markup.formatted(text) == text


def test_invisible_characters_go() -> None:
    assert markup.plain("a\u202eb\u200bc") == "abc"
    assert markup.formatted("a\u2066b") == "ab"
