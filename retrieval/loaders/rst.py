"""reStructuredText by way of HTML. Nothing is included, run or fetched; what only Sphinx knows is shown as text."""

from __future__ import annotations

import re
from typing import Any

from retrieval.loaders import html
from retrieval.loaders.charset import decode
from retrieval.loaders.document import Reading

_DIRECTIVE = re.compile(r"^([ \t]*)\.\. ([A-Za-z][\w:.+-]*)::[ \t]*(.*)$")
_OPTION = re.compile(r"^[ \t]+:[\w-]+:.*$")
_ROLE = re.compile(r":[A-Za-z][\w:.+-]*:`~?([^`<]+?)(?:\s*<[^`>]*>)?`")
_BOXES = "attention caution danger error hint important note tip warning admonition topic sidebar"
_OTHERS = """code code-block sourcecode epigraph highlights pull-quote compound container table csv-table list-table
parsed-literal rubric math figure image contents replace"""
_KNOWN = frozenset(f"{_BOXES} {_OTHERS}".split())
_SETTINGS: dict[str, Any] = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "_disable_config": True,
    "report_level": 5,
    "halt_level": 5,
    "traceback": False,
    "input_encoding": "unicode",
    "output_encoding": "unicode",
    "embed_stylesheet": False,
    "stylesheet_path": "",
    "stylesheet": "",
    "syntax_highlight": "none",
    "math_output": "LaTeX",
    "doctitle_xform": True,
    "toc_backlinks": False,
    "line_length_limit": 100_000,
}


def read(data: bytes) -> Reading:
    from docutils.core import publish_string

    page = publish_string(_plain(decode(data)), writer="html5", settings_overrides=_SETTINGS)
    return html.read_text(str(page))


def _plain(text: str) -> str:
    """Directives and roles that docutils does not know become their own text; it would drop them."""
    kept, options = list[str](), False
    for line in text.splitlines():
        found = _DIRECTIVE.match(line)
        if found and found.group(2) not in _KNOWN:
            kept.append(found.group(1) + found.group(3))
            options = True
        elif options and _OPTION.match(line):
            continue
        else:
            options = False
            kept.append(_ROLE.sub(r"\1", line))
    return "\n".join(kept)
