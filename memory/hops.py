# ruff: noqa: E501 - a pattern is easier to check on one line
"""Whether a question needs several hops: by its words, or by the names it starts from.

A question hops when it asks for the relation of two things, or for a thing known only through another. That is read
off its words by rules; where they say nothing, a name that it holds and that a passage here is about is a start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memory.naming import INNER, STARTS_NO_NAME, key, runs

_ROLE = (
    r"(?:founder|author|director|manager|spouse|wife|husband|mother|father|parent|son|daughter|child|sibling|brother|"
    r"sister|performer|singer|composer|producer|inventor|creator|owner|king|queen|president|ceo|head|leader|member|"
    r"employer|employee|successor|predecessor|supplier|customer|parent company|subsidiary|maintainer|architect|designer|"
    r"writer|boss|capital|birthplace|headquarters|captain|coach|editor|publisher)"
)
_MORE = r"(?:larger|bigger|smaller|older|younger|newer|faster|slower|cheaper|longer|shorter|higher|lower|earlier|later|better|worse|more|less|fewer)"
_VERB_BETWEEN = (
    r"(?:owns?|cites?|uses?|calls?|suppl(?:y|ies)|employs?|references?|maintains?|sponsors?|contains?|imports?|"
    r"depends?|belongs?|reports? to|relies|rely|implements?|replaces?|manages?|leads?|works? (?:for|with|on))"
)

# Two things and what is between them, or a thing known only through another.
_RELATE = (
    r"\b(?:differences? between|differ from|differs? from|compare[ds]?|comparison|versus|vs\.?|in common|similarit(?:y|ies))\b",
    r"\b(?:relat(?:es?|ed|ing)|relations?|relationships?|connect(?:s|ed)?|connections?|link(?:s|ed)?|linkage|associated|affiliated)\b.{0,60}\b(?:to|with|between|and)\b",
    r"\b(?:links|connects|joins|ties|unites)\b.{1,80}\b(?:to|with|and)\b|\bthrough (?:which|whom|what)\b",
    r"\b(?:depends?|dependent|based|builds?|relies|rely) (?:up)?on\b.*\?$|\bdependenc(?:y|ies) (?:of|between)\b",
    r"\b(?:are|is|were|was|do|does|did) both\b|\bboth .{1,60} and\b",
    r"\bthe same [\w -]{1,30} (?:as|for)\b|\b(?:is|are|was|were) .{1,60} the same\b",
    rf"\b{_MORE} (?:\w+ )?than\b(?! (?:\d|one|two|a |an |the limit|allowed|usual|expected|before))|\bwhich of (?:the|our|these|those) .{{1,40}}\b(?:{_MORE}|first)\b|\bwhich (?:\w+ )?(?:came|was|is|were|started|opened|died|happened) (?:\w+ )?(?:first|last|earlier|later|{_MORE})\b(?! (?:\w+ )?(?:year|month|week|night|spring|summer|autumn|winter|january|february|march|april|may|june|july|august|september|october|november|december|monday|time|updated|changed)|\W*$)",
    rf"\b(?:who|which|what|where|when|whom)\b.*\b(?:the|its|his|her|their) [\w' -]{{0,40}}?{_ROLE} of (?:the )?[\w' -]{{0,40}}?(?:{_ROLE} of|who|that|which|where)\b",
    rf"\b(?:who|which|what|where|when|in (?:which|what))\b.{{1,60}}\b(?:is|was|were|are|does|did|do) the {_ROLE} of\b.{{3,}}\b(?:born|die|died|work|works|live|lives|lived|study|studied|from|graduate|graduated|now|have|has)\b",
    rf"\bwho (?:is|was|are|were) the {_ROLE} of the {_ROLE} of\b|\bthe {_ROLE} of the (?:film|song|book|author|company|state|country|king|queen|team|person|city|album|show|series|service|project)\b",
    r"\b(?:the|a) (?:person|man|woman|company|team|service|state|city|country|king|queen|author|engine|project|song|film|people|one|ones) (?:who|that|which|where|whose|used)\b",
    rf"\bthe [\w-]+ of (?:the |a |an )?[\w-]+ (?:of|that|who|which) (?:the |a |an )?[\w-]+ |\bthe [\w-]+ of (?:the )?{_ROLE} of\b",
    rf"\b(?:when|where|which|what|how|why|in which [\w]+)\b.{{0,30}}\b(?:did|does|do|has|have|was|is|were|are) the {_ROLE} of\b.{{5,}}|\b(?:to|with|for|under|by|from) the {_ROLE} of\b|\b{_ROLE}'s {_ROLE}\b|\b[\w-]+'s {_ROLE}(?:'s)? [\w ]*(?:{_ROLE}|work|live|study|born|from|own|employ)",
    r"\binteract(?:s|ed|ion)?\b|\bwork together\b|\b(?:do|does|did) .{1,60} (?:and|with) .{1,40} share\b|\bshare(?:d|s)? (?:a|an|the|any|by both)\b|\b(?:influence|affect|impact)(?:s|ed)? (?:the|of|on)\b.{3,}",
    r"\b(?:on|in|at|for|to|with|by|from|under|of) the same \w+",
    r"\b(?:who|whom|whose|where|which [\w-]+|what [\w-]+|when)\b.{1,60}\bthe [\w-]+ who(?:m|se)? \w+|^(?:who|whose|which (?:company|person|team|colleague|department|group|firm))\b.{1,60}\bthe [\w-]+ (?:that|which) \w+",
    r"^(?:which|what) (?:company|person|team|firm|group|organisation|organization|department|colleague|office|agency|school|university)s? [\w-]+(?:s|ed|t|d) (?:by )?the [\w-]+ of\b",
    r"\b(?:is|are|was|were) .{1,50} (?:a )?part of (?:the )?.{2,}|\b(?:owned|led|run|headed|founded|managed) by the (?:same|one)\b",
    r"\bhow (?:do|does|did|is|are) .{1,60} (?:fit|work|belong|tie|hang|go|play|come) (?:in |together|with|into)\b|\b(?:ties?|tied) in(?:to)? with\b|\bdistinguish(?:es|ed)?\b",
    r"\b(?:affected|broken?|impacted|hit|stop\w*|down)\b.{0,30}\b(?:if|when)\b.{1,60}\b(?:fails?|is down|goes down|stops?|breaks?|dies|crash\w*|is removed)\b",
    r"\breports? to .{1,60}'s \w+|\bwhere (?:was|is|did|does) the (?:\w+) of .{2,40} (?:born|work|live|study|die)\b",
    r"\bwho else\b|\bwhich (?:of (?:our|the|these) )?[\w ]{1,30} also\b|\bworked (?:together )?with\b",
    rf"^which [\w-]+(?: [\w-]+)? {_VERB_BETWEEN}\b",
    r"\bwhat (?:depends|relies|builds) on\b|\bhow (?:is|are|was|were) .{1,60} (?:related|connected|linked|tied)\b",
    r"\b(?:more|less|better|worse|larger|older), .{1,40} or .{1,40}\?|\bfirst, .{1,60} or\b",
)

_RELATED = re.compile("|".join(f"(?:{pattern})" for pattern in _RELATE))


def relates(question: str) -> bool:
    """`question` in small letters."""
    return bool(_RELATED.search(question))


def starts(question: str) -> list[str]:
    """Keys of the capitalised words of a question, and of each part of them: the names that it may start from."""
    return list(dict.fromkeys(_parts(question)))


def _parts(question: str) -> Iterator[str]:
    for run in runs(question, INNER):
        while run and run[0].text.casefold() in STARTS_NO_NAME:
            run = run[1:]
        for begin in range(len(run)):
            for end in range(len(run), begin, -1):
                name = key(" ".join(word.text for word in run[begin:end]))
                if len(name) > 1:
                    yield name
