# ruff: noqa: E501 - a pattern is easier to check on one line
"""Whether a text gives orders to whoever reads it as a model, so that it can be marked.

A mark warns model and reader; safety rests on nothing here that understands orders: our own code follows none, and the
evidence stays in its fence whether it is marked or not.
"""

from __future__ import annotations

import re
from functools import lru_cache

READ_CHARS = 20_000  # of one passage

_SAID = r"(?:instructions?|prompts?|rules|guidelines|directions|commands|messages?|context|policy|policies)"
_REPLY = r"(?:answers?|repl(?:y|ies)|responses?|outputs?|completions?)"
_WRITE = (
    r"(?:add|adopt|alter|append|apply|augment|begin|change|combine|compose|conclude|convert|craft|deliver|encode|encrypt|"
    r"end|enhance|enrich|express|finish|format|formulate|generate|give|include|incorporate|insert|integrate|modify|offer|phrase|present|"
    r"prepend|produce|provide|rearrange|remove|render|rephrase|replace|reverse|rewrite|start|substitute|transform|translate|use|utilize|"
    r"write)"
)
_ORDERS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:ignore|disregard|forget|override|bypass|skip)\b[^.!?\n]{{0,40}}\b(?:previous|prior|above|earlier|preceding"
        rf"|all|any|your|these|other)\b[^.!?\n]{{0,30}}\b{_SAID}\b",
        rf"\b(?:ignore|disregard|forget|override)\b[^.!?\n]{{0,30}}\b{_SAID}\s+(?:above|before|given)\b",
        r"\b(?:system|initial|hidden|original|developer|secret)\s+(?:prompts?|messages?|instructions?)\b",
        rf"\b(?:repeat|print|reveal|show|output|display|recite|tell me|share|translate)\b[^.!?\n]{{0,60}}\b(?:above (?:text|"
        rf"{_SAID})|text above|everything above|(?:your|the) (?:entire )?(?:{_SAID}|conversation)\b[^.!?\n]{{0,30}}"
        r"(?:given|told|began|beginning|verbatim|word for word|above)|your (?:instructions|prompt|guidelines|rules))",
        r"\byou(?:'re| are) (?:now|no longer)\b[^.!?\n]{0,60}\b(?:mode|assistant|ai|model|bot|persona|character|free|dan)\b",
        r"\b(?:from now on|new instructions?\s*:|do anything now|developer mode|god mode)\b",
        rf"(?:^|[.!?:;,\n]\s*|\bplease )\s*{_WRITE}\b[^!?\n]{{0,80}}\byour\s+(?:\w+\s+)?{_REPLY}\b",
        rf"(?:^|[.!?\n]\s*)(?:in|at the (?:end|start|beginning) of|throughout|within|for|with)\s+your\s+(?:\w+\s+)?{_REPLY}\b",
        r"(?:^|[.!?\n]\s*)(?:respond|answer|reply)\s+(?:only |to (?:every|all|the) |in |with |using |as |like |by )",
        r"<\|?(?:im_start|im_end|system|assistant|eot_id|start_header_id)\|?>|\[/?INST\]|<</?SYS>>",
    )
)


@lru_cache(maxsize=1024)  # prompt and warnings read the same passages, and so does the next question
def gives_orders(text: str) -> bool:
    return any(pattern.search(text[:READ_CHARS]) for pattern in _ORDERS)
