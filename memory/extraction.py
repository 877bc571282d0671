"""Entities, facts and home names of a document's pieces, found by rules: no model, no I/O, no state.

A fact is a sentence that names two entities. Where the words between them state a relation ("depends on", "is part
of"), the fact carries it; otherwise it is RELATES_TO, or MENTIONED_WITH where the sentence names one entity only and
the other is what its document is about. Questions, headings, tables and code make no facts, and no fact gets a date
that its sentence does not state.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from memory.introductions import introduced
from memory.naming import MAX_KEY, SELF, STARTS_NO_NAME, Word, home_keys, key, runs, words
from memory.sentences import Sentence, sentences
from memory.statements.dates import period
from memory.statements.own_words import negated
from memory.statements.relations import relation as stated_relation
from memory.statements.relations import single
from retrieval.loaders.document import LoadedDocument
from retrieval.splitting import Piece

MAX_FACTS = 10  # per piece
MAX_ENTITIES = 24  # per piece
MAX_OPENING = 1000  # characters of a piece in which a word of its title is looked for
MAX_NAME = 80  # characters; a longer run of capitalised words is a headline or a list

NAME, CODE, DATE, CONCEPT = "Name", "Code", "Date", "Concept"

_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATES = re.compile(
    rf"\b(?:\d{{4}}-\d\d-\d\d|\d{{1,2}} (?:{_MONTH}) \d{{3,4}}|(?:{_MONTH}) (?:\d{{1,2}}, )?\d{{3,4}})\b"
)
_MAY_BE_DATED = re.compile(r"\b[12]\d{3}\b")
_MAY_HAVE_ATTRIBUTE = re.compile(
    r"^(?:The |[^\W\d_a-z][\w .-]{1,60}'s )[\w '’.-]{3,100} (?:is|was|were|are|costs?|moved|changed) "
)
_CODE = re.compile(
    r"`([^`\n]{2,60})`"  # between backticks
    r"|(?<![\w/.])((?:[a-z]\w*\.)+[a-z_]\w*\(\)|[A-Za-z]\w*_\w+|[a-z][a-z0-9]{0,40}[A-Z]\w*|--[a-z][\w\-]+|[a-z]\w+\(\))"
)
_LONG_FORM = re.compile(r"\(([A-Z][A-Za-z0-9\-]{1,9})\)")
_SUBJECTS = tuple(
    re.compile(rf"(?:The|An?|Each|Every)\s+((?:[a-z][\w\-]*\s+){{{size}}}[a-z][\w\-]*)(?=\s)") for size in range(4)
)

# What stands between two entities, when it states a relation. The first that fits counts.
_DETERMINER = r"(?:\s+(?:the|an?|its|their|his|her|one of the|some of the))?"
_VERBS: tuple[tuple[str, str], ...] = (
    (r"(?:is|are|was|were|forms?)\s+(?:also\s+)?(?:a\s+)?part\s+of|belongs?\s+to|belonged\s+to", "PART_OF"),
    (r"(?:was|is|were|are)\s+(?:founded|established|started)\s+(?:in\s+\d{4}\s+)?by", "FOUNDED_BY"),
    (
        r"(?:was|is|were|are)\s+(?:written|created|made|developed|built|designed|invented|composed)\s+by",
        "CREATED_BY",
    ),
    (r"(?:was|is)\s+directed\s+by", "DIRECTED_BY"),
    (r"(?:was|is|are|were)\s+(?:maintained|run|managed|led|headed)\s+by", "MANAGED_BY"),
    (r"(?:was|is|are|were)\s+(?:owned|acquired|bought)\s+by", "OWNED_BY"),
    (r"(?:is|are|was|were)\s+(?:located|situated|based)\s+in|lies\s+in", "LOCATED_IN"),
    (r"(?:was|were)\s+born\s+in", "BORN_IN"),
    (r"died\s+in", "DIED_IN"),
    (r"(?:is|was)\s+(?:the\s+)?(?:\w+\s+)?(?:son|daughter|child)\s+of", "CHILD_OF"),
    (r"(?:is|was)\s+(?:the\s+)?(?:father|mother|parent)\s+of", "PARENT_OF"),
    (r"(?:is|was)\s+(?:the\s+)?(?:wife|husband|spouse)\s+of|(?:is\s+|was\s+)?married(?:\s+to)?", "MARRIED_TO"),
    (r"(?:is|was)\s+(?:the\s+)?(?:capital|chair(?:man|woman)?|chief|director|head|leader|president)\s+of", "HEAD_OF"),
    (r"depends?\s+on|depended\s+on|relies\s+on|rely\s+on|requires?|needs?", "DEPENDS_ON"),
    (r"(?:is|are)\s+built\s+on(?:\s+top\s+of)?|builds?\s+on", "BUILT_ON"),
    (r"(?:runs?|ran|works?)\s+on", "RUNS_ON"),
    (r"(?:are|is|was|were)\s+(?:stored|kept|saved)\s+in", "STORED_IN"),
    (r"(?:stores?|keeps?|saves?)\s+(?:[a-z]+\s+){1,3}in", "STORED_IN"),
    (r"(?:stores?|keeps?|saves?|holds?)", "STORES"),
    (r"(?:uses?|used|employs?|makes?\s+use\s+of)", "USES"),
    (r"(?:contains?|includes?|comprises?|consists?\s+of|has)", "CONTAINS"),
    (r"(?:replaces?|replaced|supersedes?)", "REPLACES"),
    (r"(?:supports?|supported)", "SUPPORTS"),
    (r"(?:provides?|offers?|gives?)", "PROVIDES"),
    (r"(?:calls?|invokes?|talks\s+to|connects?\s+to|sends?\s+(?:\w+\s+)?to)", "CONNECTS_TO"),
    (r"(?:reads?\s+from|loads?\s+from)", "READS_FROM"),
    (r"(?:writes?\s+to)", "WRITES_TO"),
    (r"(?:extends?|implements?|inherits?\s+from)", "IMPLEMENTS"),
    (r"(?:works?|worked)\s+(?:for|at)", "WORKS_FOR"),
    (r"(?:is|was|are|were)\s+(?:also\s+)?(?:known|called)\s+as|(?:stands?|short)\s+for", "KNOWN_AS"),
    (r"(?:wrote|created|founded|invented|developed|built|designed|composed|directed|made)", "CREATED"),
)
_BETWEEN = re.compile("|".join(f"(?P<r{index}>{verb})" for index, (verb, _) in enumerate(_VERBS)))
_TAIL = re.compile(rf"{_DETERMINER}\s*")
_IS_A = re.compile(
    r"\s+(?:is|was|are|were)\s+(?:an?|the|one\s+of\s+the)\s+((?:[^\W\d_][\w\-]*\s+){0,4}?[^\W\d_][\w\-]*)"
    r"(?=\s+(?:of|in|by|that|which|who|whose|for|with|from|at|on|to|and|or|used|made|written|based)\b|[,.;:)(]|$)"
)


@dataclass(frozen=True, slots=True)
class FoundEntity:
    name: str
    key: str
    label: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundFact:
    """`source` and `target` are keys of entities of the same extract; start and end count in the document's text."""

    source: str
    target: str
    relation: str
    text: str
    start: int
    end: int
    quote: str
    valid_at: datetime | None = None  # where the sentence says since when
    invalid_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Extract:
    """What one piece gives. `homes` are the keys of the names that the piece is the home of."""

    entities: tuple[FoundEntity, ...] = ()
    facts: tuple[FoundFact, ...] = ()
    homes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """An entity where it stands; start and end count in the document's text."""

    entity: FoundEntity
    start: int
    end: int


@dataclass(slots=True)
class _Subject:
    """What is known of the document while its pieces are read."""

    about: FoundEntity | None
    seen: Counter[str] = field(default_factory=Counter[str])
    inside: set[str] = field(default_factory=set[str])  # single words that stand capitalised inside a sentence
    long_forms: dict[str, FoundEntity] = field(default_factory=dict[str, FoundEntity])  # key of the acronym -> entity


@dataclass(frozen=True, slots=True)
class RuleExtractor:
    """`retrieval.ingestion.preparing.Extractor`."""

    max_facts: int = MAX_FACTS

    def extract(self, document: LoadedDocument, pieces: Sequence[Piece]) -> list[Extract]:
        subject = _survey(document, pieces)
        extracts: list[Extract] = []
        heading: str | None = None
        for index, piece in enumerate(pieces):
            homes = home_keys(document.title) if index == 0 else ()
            if piece.heading and piece.heading != heading:
                homes = (*homes, *home_keys(piece.heading.rsplit(" > ", 1)[-1]))
            heading = piece.heading
            if not _speaks_of(homes, piece.text):
                homes = (*homes, *introduced(piece.text))
            extracts.append(self._piece(document, piece, subject, tuple(dict.fromkeys(homes))))
        return extracts

    def _piece(self, document: LoadedDocument, piece: Piece, subject: _Subject, homes: tuple[str, ...]) -> Extract:
        known: dict[str, FoundEntity] = {}
        facts: dict[tuple[str, str, str, int], FoundFact] = {}
        if homes and subject.about is not None:
            known[subject.about.key] = subject.about
        for sentence in sentences(document.text, piece.span.start, piece.span.end, document.headings):
            places = _places(sentence, subject)
            found = _facts(sentence, places, subject) if len(facts) < self.max_facts else []
            for place in places:
                known.setdefault(place.entity.key, place.entity)
            for fact, ends in found:
                known.update((end.key, end) for end in ends if end.key not in known)
                facts.setdefault((fact.source, fact.target, fact.relation, fact.start), fact)
        kept = list(facts.values())[: self.max_facts]
        return Extract(_bounded(known, kept), tuple(kept), homes)


def _speaks_of(homes: tuple[str, ...], text: str) -> bool:
    """Whether title or heading say what the piece is about; a file's name shares no word with its text."""
    held = {key(word.text) for word in words(text[:MAX_OPENING])}
    return any(not held.isdisjoint(home.split()) for home in homes)


def _survey(document: LoadedDocument, pieces: Sequence[Piece]) -> _Subject:
    """One look over the document: which words are names inside sentences, and what acronyms stand for."""
    keys = home_keys(document.title)
    about = FoundEntity(_shown(document.title), keys[-1], NAME, keys[:-1]) if keys else None
    subject = _Subject(about)
    for piece in pieces:
        for run in runs(piece.text):
            name = _stripped(run)
            if name:
                joined = key(" ".join(word.text for word in name))
                subject.seen[joined] += 1
                if len(name) > 1 or (name[0].start > 0 and _inside(piece.text, name[0].start)):
                    subject.inside.add(joined)
        for match in _LONG_FORM.finditer(piece.text):
            _learn_acronym(piece.text, match, subject)
    return subject


def _inside(text: str, start: int) -> bool:
    """Whether the word that starts here is not the first of a sentence or line."""
    before = text[max(0, start - 3) : start].rstrip(" ")
    return bool(before) and before[-1] not in '.!?:\n"“”#*-•|>'


def _learn_acronym(text: str, match: re.Match[str], subject: _Subject) -> None:
    """`Long Form (LF)`: the words before the bracket have its letters as initials or capitals."""
    letters = "".join(char for char in match.group(1) if char.isupper())
    offset = max(0, match.start() - 160)
    before = words(text[offset : match.start()])
    for size in range(min(len(letters), len(before)), 0, -1):
        name = text[offset + before[-size].start : offset + before[-1].end]
        if len(letters) > 1 and letters in (_initials(before[-size:]), _capitals(name)):
            short = key(match.group(1))
            subject.long_forms[short] = FoundEntity(_shown(name), key(name), NAME, (short,))
            subject.long_forms[key(name)] = subject.long_forms[short]
            return


def _initials(name: Sequence[Word]) -> str:
    return "".join(word.text[0].upper() for word in name)


def _capitals(name: str) -> str:
    return "".join(char for char in name if char.isupper())


def _shown(name: str) -> str:
    return " ".join(name.split())[:MAX_KEY]


def _stripped(run: list[Word]) -> list[Word]:
    """Without the words a sentence starts with: `In Berlin` is `Berlin`."""
    while run and (run[0].text.casefold() in STARTS_NO_NAME or run[0].text[0].isdigit()):
        run = run[1:]
    while run and not run[0].capitalised:
        run = run[1:]
    return run


def _places(sentence: Sentence, subject: _Subject) -> list[_Place]:
    """Entities of a sentence in order, none inside another."""
    found: list[_Place] = []
    for match in _CODE.finditer(sentence.text):
        group = 1 if match.group(1) else 2
        _add(found, sentence, match.group(group), match.start(), match.end(), CODE)
    for match in _DATES.finditer(sentence.text):
        _add(found, sentence, match.group(), match.start(), match.end(), DATE)
    for run in runs(sentence.text):
        name = _stripped(run)
        if name and _is_name(name, sentence, subject):
            shown = sentence.text[name[0].start : name[-1].end]
            _add(found, sentence, shown, name[0].start, name[-1].end, NAME, subject)
    return sorted(found, key=lambda place: place.start)


def _is_name(name: list[Word], sentence: Sentence, subject: _Subject) -> bool:
    if len(name) > 1 or any(char.isupper() or char.isdigit() for char in name[0].text[1:]):
        return True
    end = name[0].end
    if _IS_A.match(sentence.text, end) or _BETWEEN.match(sentence.text, end + 1):
        return True  # the first word of a sentence that states something of it
    joined = key(name[0].text)
    return len(joined) > 1 and (_inside(sentence.text, name[0].start) or joined in subject.inside)


def _add(
    found: list[_Place],
    sentence: Sentence,
    name: str,
    start: int,
    end: int,
    label: str,
    subject: _Subject | None = None,
) -> None:
    if len(name) > MAX_NAME or any(place.start < start + sentence.start + 1 <= place.end for place in found):
        return
    joined = key(name)
    if not joined or (not any(char.isalpha() for char in joined) and label != DATE):
        return
    entity = subject.long_forms.get(joined) if subject else None
    if entity is None and subject and subject.about and joined in (subject.about.key, *subject.about.aliases):
        entity = subject.about
    shown = _shown(re.sub(r"['’]s?$", "", name)) if label == NAME else _shown(name)
    entity = entity or FoundEntity(shown, joined, label)
    found.append(_Place(entity, sentence.start + start, sentence.start + end))


def _facts(
    sentence: Sentence, places: list[_Place], subject: _Subject
) -> Iterator[tuple[FoundFact, tuple[FoundEntity, FoundEntity]]]:
    """Relations that the sentence states; where it states none, the sentence between its two main entities."""
    if not sentence.states:
        return
    stated = list(_stated(sentence, places))
    for source, relation, target in stated or _unstated(places, subject):
        if source.key != target.key:
            text = " ".join(sentence.text.split())
            times = dated(sentence.text.replace(target.name, "_"))  # a date that is the object dates nothing
            yield (
                FoundFact(source.key, target.key, relation, text, sentence.start, sentence.end, sentence.text, *times),
                (source, target),
            )


def _stated(sentence: Sentence, places: list[_Place]) -> Iterator[tuple[FoundEntity, str, FoundEntity]]:
    text, offset = sentence.text, sentence.start
    starts = _with_plain_subject(sentence, places)
    if attribute := _attribute(text):
        yield attribute
    for index, place in enumerate(starts):
        if place.entity.label == DATE:
            continue
        if index + 1 < len(starts):
            relation = _relation(text[place.end - offset : starts[index + 1].start - offset])
            if relation:
                yield place.entity, relation, starts[index + 1].entity
        kind = _IS_A.match(text, place.end - offset)
        if kind and not kind.group(1).startswith(("part ", "son ", "daughter ")):
            name = _shown(kind.group(1))
            yield place.entity, "IS_A", FoundEntity(name, key(name), CONCEPT)


def dated(text: str) -> tuple[datetime | None, datetime | None]:
    return period(text) if _MAY_BE_DATED.search(text) else (None, None)


def _attribute(text: str) -> tuple[FoundEntity, str, FoundEntity] | None:
    """`The deadline of Orion is 5 May`: what somebody or something has one of at a time."""
    if not _MAY_HAVE_ATTRIBUTE.search(text) or negated(text):
        return None
    stated = stated_relation(text.strip(" .!"))
    if stated is None or not single(stated.name) or not stated.name.startswith(("HAS_AS_", "BORN_ON", "COSTS")):
        return None
    ends = [FoundEntity(_shown(name), key(name), CONCEPT) for name in (stated.subject, stated.object)]
    return (ends[0], stated.name, ends[1]) if ends[0].key and ends[1].key and ends[0].key not in SELF else None


def _with_plain_subject(sentence: Sentence, places: list[_Place]) -> list[_Place]:
    """`The vector store depends on Qdrant`: the words before the verb are an entity, too."""
    first = places[0].start - sentence.start if places else len(sentence.text)
    for subject in _SUBJECTS:
        match = subject.match(sentence.text, 0, first)
        if match and (_relation(sentence.text[match.end() : first]) or _IS_A.match(sentence.text, match.end())):
            name = _shown(match.group(1))
            place = _Place(FoundEntity(name, key(name), CONCEPT), sentence.start, sentence.start + match.end())
            return [place, *places]
    return places


def _relation(between: str) -> str | None:
    """The relation that these words state: a verb phrase, at most a small word after it, and nothing else."""
    stripped = re.sub(r"^\s*\([^)]*\)", "", between).strip(" `\n")
    match = _BETWEEN.match(stripped)
    if match is None or not _TAIL.fullmatch(stripped, match.end()):
        return None
    return _VERBS[int(str(match.lastgroup)[1:])][1]


def says(relation: str, text: str) -> bool:
    """Whether the text holds a verb phrase that states this relation."""
    return any(name == relation and re.search(rf"\b(?:{verb})\b", text) for verb, name in _VERBS)


def _unstated(places: list[_Place], subject: _Subject) -> Iterator[tuple[FoundEntity, str, FoundEntity]]:
    """The two most salient entities: often named in this document, named in several words."""
    distinct = {place.entity.key: place.entity for place in places if place.entity.label != DATE}
    ranked = sorted(distinct.values(), key=lambda entity: -_salience(entity, subject))[:2]
    order = {place.entity.key: place.start for place in reversed(places)}
    ranked.sort(key=lambda entity: order[entity.key])
    if len(ranked) == 2:
        yield ranked[0], "RELATES_TO", ranked[1]
    elif ranked and subject.about is not None:
        yield subject.about, "MENTIONED_WITH", ranked[0]


def _salience(entity: FoundEntity, subject: _Subject) -> float:
    about = 3.0 if subject.about is not None and entity.key == subject.about.key else 0.0
    return about + min(subject.seen[entity.key], 5) + 0.5 * entity.key.count(" ") + (entity.label == NAME)


def _bounded(known: dict[str, FoundEntity], facts: Sequence[FoundFact]) -> tuple[FoundEntity, ...]:
    """All ends of facts, then the others in order, at most MAX_ENTITIES."""
    ends = dict.fromkeys(end for fact in facts for end in (fact.source, fact.target))
    chosen = dict.fromkeys((*ends, *known))
    return tuple(known[name] for name in list(chosen)[: max(MAX_ENTITIES, len(ends))])
