# ruff: noqa: E501 - a pattern is easier to check on one line
"""Common relations: how a question asks for one, and in which words a text speaks of it.

A passage about a person tells when she was born and not when she died, and shares as many words with a question for
the one as for the other. English; what is asked in other words is no relation here, and counts neither way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LIFE = r"\d{4} ?[–-] ?(?:\D{0,15}\d{0,2} ?\w* ?)?\d{4} ?\)"  # (11 September 1911 – 5 February 1971)

_RELATIONS = tuple(
    (re.compile(asks, re.IGNORECASE), re.compile(speaks, re.IGNORECASE))
    for asks, speaks in (
        (r"\bborn\b|\bbirth", rf"\bborn\b|\bbirth|\bnative of\b|\bb\. ?\d|\braised in\b|{_LIFE}"),
        (r"\bdied?\b|\bdeath\b|\bkilled\b|\bdeceased\b", rf"\bdie[ds]?\b|\bdeath\b|\bkill|\bmurder|\bassassin|\bexecut|\bpassed away\b|\bdeceased\b|\bburied\b|\bsuicide\b|\bdrown|{_LIFE}"),
        (r"\bmarri|\bspouse\b|\bwife\b|\bhusband\b|\bwed", r"\bmarri|\bspouse\b|\bwife\b|\bhusband\b|\bwed(?:ded|ding)?\b|\bbride|\bwidow|\bconsort\b|\bdivorce"),
        (r"\bfather\b|\bmother\b|\bparents?\b", r"\bfather|\bmother|\bparent|\bson\b|\bdaughter\b|\bborn to\b|\bchild of\b"),
        (r"\bchild(?:ren)?\b|\bson\b|\bdaughter\b", r"\bchild|\bsons?\b|\bdaughter|\bfather of\b|\bmother of\b|\bparents? of\b"),
        (r"\bstud(?:y|ied)\b|\battend|\bgraduate|\beducated\b|\b(?:which|what) (?:university|school|college)\b", r"\bstud(?:y|ied|ies)\b|\battend|\bgraduat|\beducated\b|\bdegree\b|\bschool|\bcollege|\buniversit|\balumn|\bPh\.?D"),
        (r"\bfounde[dr]|\bestablished\b|\bfounding\b", r"\bfound(?:ed|er|ing)|\bestablish|\bset up\b|\bcreated\b|\bstarted\b|\bformed\b|\bincorporated\b|\bbegan\b|\bsince \d{4}|\bopened\b|\blaunched\b"),
        (r"\bheadquarter|\bbased\b", r"\bheadquarter|\bbased\b|\blocated\b|\bseat\b|\bhome\b"),
        (r"\bdirect(?:ed|or)\b", r"\bdirect"),
        (r"\bwr(?:ote|itten|iter)\b|\bauthor", r"\bwr(?:ote|itten|iter|iting)|\bauthor|\bpenned\b|\bnovel\b|\bbook\b"),
        (r"\bcompose[dr]", r"\bcompos|\bmusic by\b|\bscore|\bwr(?:ote|itten)"),
        (r"\bproduced\b|\bproducer\b", r"\bproduc"),
        (r"\brecord label\b", r"\blabel\b|\brecords\b|\brecordings\b|\breleased (?:on|by|through)\b"),
        (r"\breleased?\b", r"\breleas|\bpremier|\bpublish|\bissued\b|\bcame out\b|\bsingle\b.{0,40}\d{4}|\bis an? \d{4}\b"),
        (r"\bperform(?:ed|er|s)\b|\bsang\b|\bsung\b|\brecorded\b", r"\bperform|\bsong by\b|\bsang\b|\bsung\b|\bsinger\b|\brecorded\b|\balbum by\b|\bsingle by\b|\bby (?:the )?\w+ (?:band|singer|artist|rapper|duo)"),
        (r"\bstarr(?:ed|ing)\b|\bacted\b", r"\bstar(?:s|red|ring)?\b|\bcast\b|\bplay|\bact(?:or|ress|ed)\b|\bportray"),
        (r"\bdevelop(?:ed|er|s)\b", r"\bdevelop|\bdesign|\bcreated\b|\bmade by\b"),
        (r"\bpublish(?:ed|er|es)\b", r"\bpublish|\breleased by\b"),
        (r"\bawards?\b|\bprizes?\b", r"\baward|\bprize|\bmedal|\bwon\b|\bhonou?r|\bnominat"),
        (r"\bparty\b", r"\bpart(?:y|ies)\b|\bmember of\b|\bpolitician\b|\bdemocrat|\brepublican|\bconservative|\bliberal|\blabour\b|\bsocialist"),
        (r"\bteam\b|\bplay for\b|\bclub\b", r"\bteam|\bplay|\bclub|\bsigned\b|\bF\.?C\b"),
        (r"\bowns?\b|\bowned\b|\bowner\b|\bparent company\b", r"\bown|\bsubsidiary\b|\bdivision\b|\bacqui|\bparent\b|\bpart of\b|\bbought\b|\bbelong"),
        (r"\bchief executive\b|\bCEO\b", r"\bchief executive\b|\bCEO\b|\bchair|\bpresident\b|\bled by\b|\bhead(?:ed)? (?:of|by)\b"),
        (r"\bemployed\b|\bwork(?:ed)? for\b|\bemployer\b", r"\bemploy|\bwork|\bjoined\b|\bserved\b|\bpositions?\b|\bprofessor\b|\bat the\b"),
    )
)  # fmt: skip


def asked_relations(question: str) -> list[re.Pattern[str]]:
    """How a text speaks of each relation that the question asks for."""
    return [speaks for asks, speaks in _RELATIONS if asks.search(question)]


def unspoken(question: str, sentences: Sequence[str]) -> bool:
    """Whether the question asks for a relation that none of the sentences speaks of."""
    wanted = asked_relations(question)
    return bool(wanted) and not any(all(speaks.search(sentence) for speaks in wanted) for sentence in sentences)
