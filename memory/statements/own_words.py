"""Which sentences of a message are the person's own statements.

Not those: questions and requests, what is quoted, pasted or told of others, what is supposed, wished or planned, and
what is negated. When in doubt a sentence states nothing: a fact not learnt is asked again, a false one misleads.
"""
# ruff: noqa: E501 - tables of patterns are read by the line

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from memory.sentences import Sentence, sentences

LONGEST_MESSAGE = 8000  # code points read; what is longer was not typed

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_QUOTED_LINE = re.compile(r"^[ \t]*(?:>|\|).*$", re.MULTILINE)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_QUOTATION = re.compile(
    r"\"[^\"\n]{1,2000}\"|“[^”\n]{1,2000}”|„[^“”\n]{1,2000}[“”]|«[^»\n]{1,2000}»|‘[^’\n]{1,2000}’(?!\w)|(?<!\w)'[^'\n]{3,2000}'(?!\w)"
)
_OPEN_QUOTATION = re.compile(r"(?:^|[\s(:])[\"“„«](?=\S)[^\"”“»]*$")
_SAID_BY = re.compile(
    r"^\s*(?:assistant|system|bot|ai|chatgpt|user|human|from|to|subject|date|re|fwd?)\s*:", re.I | re.M
)

# Somebody who plays a part, or sets a scene, speaks of nobody: not of themselves, not of others.
_SCENE = re.compile(
    r"\b(?:imagine|pretend|role-?play\w*|fiction(?:al)?|hypothetical\w*|thriller|screenplay|novel set|narrative|storyline"
    r"|protagonist|character named|named character|in (?:a|an|the) (?:\w+ ){0,2}(?:world|universe|realm|dimension|scenario"
    r"|story|novel|game|future) (?:of|where|in which|called)|parallel (?:world|universe)|alternate (?:world|universe|history)"
    r"|let(?:'s| us) (?:say|assume|suppose|imagine|pretend|immerse|delve|play|write|create)|scenario|(?:you are|you're|act as"
    r"|acting as|play the role of|in the role of) (?:now )?(?:an?|the|my|our) |as an? (?:\w+[ -]){1,6}(?:of [\w ]+)?, (?:imagine|you)"
    r"|short story|write a (?:story|script|scene|poem|song|dialogue|novel)|writing a (?:story|script|novel|screenplay|scene)"
    r"|stell dir vor|tu so als|imaginez|imagine que|imagina que|haz como)\b",
    re.I,
)

# A line that ends with a colon hands something over: what follows it is not the person's own.
_HANDED = re.compile(
    r":[ \t]*(?:\n|$)|\b(?:this|following|text|below|passage|paragraph|article|email|e-mail|quote)\s*:\s"
)
_REQUEST_WORDS = """
please tell show give find explain summarise summarize translate rewrite rephrase compare list write check correct
proofread describe define search look help calculate compute imagine suppose pretend assume say consider let lets
let's repeat answer ask recommend suggest draft convert fix shorten expand improve paraphrase read parse extract
create make generate stell nehmen angenommen übersetze erkläre zeige nenne schreibe bitte fasse imagine imagina supón
supongamos traduce explica resume escribe dime muéstrame traduis explique résume écris dis montre supposons imaginons
"""
_REQUEST = frozenset(_REQUEST_WORDS.split())
_QUESTION = re.compile(
    r"^(?:and |so |but |or |well,? |ok,? |hey,? )*"
    r"(?:what|who|whom|whose|when|where|which|why|how|do|does|did|is|are|am|was|were|can|could|will (?:you|i|we|it|the|my|he|she|they)"
    r"|would|shall|should|may (?:i|we)|might|must|have you|has (?:he|she|it|the|my)|had|isn't|aren't|don't|doesn't|didn't|won't|wouldn't|can't|any\b"
    r"|was|wer|wann|wo|warum|wieso|wie|welche[rsmn]?|ist|sind|hast|habe ich|kannst|können|wohne ich|lebe ich|arbeite ich"
    r"|qui|que|quoi|quand|où|pourquoi|comment|quel(?:le)?s?|est-ce|qu'est|suis-je|ai-je"
    r"|qué|quién|cuándo|dónde|cómo|cuál|por qué|cuánto)\b",
    re.I,
)
_HYPOTHETICAL = re.compile(
    r"\b(?:if|unless|whether|would|wouldn't|could|couldn't|might|(?-i:may)|maybe|perhaps|possibly|probably|presumably"
    r"|suppose[ds]?|supposing|imagine[ds]?|imagining|pretend\w*|assum(?:e|es|ing|ed)|hypothetical\w*|hypothesis"
    r"|let's say|say i|as though|as if|wish(?:es|ed|ing)?|hope(?:s|d)?|hoping|wonder(?:s|ed|ing)?|thinking (?:of|about)"
    r"|dream(?:s|ed|t)? (?:of|that|about)|dreaming|i'd|we'd|should|shouldn't|ought|in theory|for example|e\.g|joking"
    r"|kidding|role-?play\w*|i think|i believe|i guess|i suspect|i doubt|seems?|apparently|allegedly|rumou?r(?:s|ed)?"
    r"|(?-i:will)|won't|i'll|we'll|going to|gonna|plan(?:s|ned|ning)? (?:to|on)|intend\w*|about to|want(?:s|ed)? to|wanna"
    r"|consider(?:s|ed|ing)|in case|what about|supposedly|almost|nearly|sometimes i feel"
    r"|wenn|falls|würde[nst]?|wäre[nst]?|hätte[nst]?|könnte[nst]?|vielleicht|angenommen|möglicherweise|werde[n]?|wird"
    r"|möchte[n]?|wünschte|hoffe|glaube|vermutlich|wahrscheinlich"
    r"|si|peut-être|serais|serait|aurais|aurait|voudrais|aimerais|habiterais|vivrais|supposons|imaginons|vais|probablement"
    r"|quizás?|tal vez|ojalá|sería|tendría|viviría|podría|quisiera|gustaría|voy a|probablemente|creo que|supongamos)\b"
    r"|\b\w+(?:rais|rait|ría|rías)\b",
    re.I,
)
_TOLD = re.compile(
    r"\b(?:according to|(?:he|she|they|you|it|someone|somebody|people|everyone|who) (?:\w+ )?(?:says?|said|told|claims?|"
    r"claimed|wrote|writes?|thinks?|thought|believes?|believed|mentioned|mentions?|suggested|suggests?)|"
    r"(?:i|we) (?:\w+ )?(?:heard|read (?:that|in|on|about|somewhere)|was told|were told|saw (?:that|on|in)|was reading|learned that|learnt that|quote)|"
    r"(?:says?|said|claims?|claimed|states?|stated|writes|wrote|told me|told us|thinks|mentions?|mentioned|reports|"
    r"reported|argues?|suggests?) (?:that|in|:|i|he|she|the|my|we)|\w+ (?:told|asked) (?:me|us)|(?:says?|said|writes|"
    r"wrote|claims?|claimed|told me|tells me|quotes?|reads)[:,]? *$|your (?:answer|reply|response|summary|message)|"
    r"you(?:'ve| have)? (?:just )?(?:answered|replied|wrote|listed|recommended|stated|are|were|can|could|have|should)|"
    r"the (?:assistant|document|doc|article|text|email|e-mail|letter|book|page|report|paper|manual|story|novel|film|"
    r"movie|song|character|website|passage|poem) (?:\w+ )?(?:says?|said|states?|claims?|reads|writes|mentions|goes|is about)|"
    r"in the (?:document|article|story|novel|book|film|movie|game|song|dream|play)|"
    r"sagte?|meinte?|behauptet\w*|laut|angeblich|hat gesagt|soll angeblich|selon|dit que|a dit|disait|según|dice que|dijo)\b",
    re.I,
)
_NEGATION = re.compile(
    r"\b(?:not|no longer|never|no|none|nobody|nothing|neither|nor|without|cannot|hardly|barely|nowhere|isn't|aren't"
    r"|wasn't|weren't|don't|doesn't|didn't|haven't|hasn't|hadn't|can't|won't|ain't|anymore|any more|stopped|quit|refuse\w*"
    r"|false|untrue|wrong|deny|denied|used to|nicht|kein(?:e[nmrs]?)?|nie(?:mals)?|weder|jamais|pas|plus|rien|aucun\w*"
    r"|nunca|jamás|tampoco|ningún\w*|ninguna|ya no)\b|\w+n't\b",
    re.I,
)
_FRENCH_NE = re.compile(r"\bn(?:e |')\w+", re.I)
_LATER = re.compile(
    r"\b(?:tomorrow|next (?:week|month|year|\w+day)|someday|some day|one day|soon|morgen|demain|mañana)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Own:
    """A sentence that states something, without words that only introduce it; start and end are the sentence's."""

    text: str
    start: int
    end: int


def own_statements(message: str) -> Iterator[Own]:
    """In order. Clauses of them may still be negated (`negated`)."""
    if _SCENE.search(message.replace("’", "'")[:LONGEST_MESSAGE]):
        return
    text = _without_quoted(message[:LONGEST_MESSAGE])
    for sentence in sentences(text, 0, len(text)):
        if not _states(sentence, text):
            continue
        quote = message[sentence.start : sentence.end]
        yield Own(quote, sentence.start, sentence.end)


def supposed(clause: str) -> bool:
    return bool(_HYPOTHETICAL.search(clause.replace("’", "'")))


def negated(clause: str) -> bool:
    return bool(_NEGATION.search(clause.replace("’", "'")) or _FRENCH_NE.search(clause))


def _states(sentence: Sentence, text: str) -> bool:
    words = " ".join(sentence.text.replace("’", "'").split())
    if words.rstrip("\"'”’)»* ").endswith(("?", "？", "؟", ":")) or words.startswith("¿") or _CONTROL.search(words):
        return False
    if len(words) < 8 or _OPEN_QUOTATION.search(words):
        return False
    first = words.split(" ", 1)[0].strip(",.!").lower()
    if first in _REQUEST or _QUESTION.search(words):
        return False
    return not (_HYPOTHETICAL.search(words) or _TOLD.search(words) or _LATER.search(words))


def _without_quoted(message: str) -> str:
    """The same length, with NUL in the place of what is not the person's own words."""
    text = message.replace("\x00", " ")
    handed = _HANDED.search(text)
    if handed:
        text = _blanked(text, handed.end(), len(text))
    if said := _SAID_BY.search(text):
        text = _blanked(text, said.start(), len(text))
    for pattern in (_CODE, _QUOTED_LINE):
        for match in list(pattern.finditer(text)):
            text = _blanked(text, match.start(), match.end())
    for match in list(_QUOTATION.finditer(text)):
        if len(match.group().split()) > 3:
            text = _blanked(text, match.start(), match.end())
    return text


def _blanked(text: str, start: int, end: int) -> str:
    return text[:start] + re.sub(r"[^\n]", "\x00", text[start:end]) + text[end:]
