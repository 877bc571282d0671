"""What a clause of somebody's own words states: subject, relation, object. Rules, no model.

English in full; German, French and Spanish for what people most often tell of themselves. Relations carry the same
names in all languages. A relation in SINGLE has one object at a time, so another object means a change; every other
relation may hold several.
"""
# ruff: noqa: E501 - tables of patterns are read by the line

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from memory.statements.dates import dates

SINGLE_TEXT = """
LIVES_IN WORKS_FOR WORKS_AS NAME AGE BORN_IN BORN_ON MARRIED_TO REPORTS_TO STUDIES_AT LOCATED_IN IS_ON AMOUNTS_TO
HOLDS_OFFICE COSTS
"""
SINGLE = frozenset(SINGLE_TEXT.split())
_ONE_OF_TEXT = """
name|first name|last name|surname|family name|full name|age|birthday|birth date|date of birth|address|home address
email|email address|e-mail|e-mail address|phone|phone number|number|mobile number|employer|boss|manager|supervisor
line manager|team lead|wife|husband|partner|spouse|fiancé|fiancée|fiance|fiancee|girlfriend|boyfriend|hometown
home town|job|job title|title|role|position|occupation|profession|salary|budget|deadline|due date|launch date
release date|start date|end date|timezone|time zone|mother tongue|blood type|height|weight|shoe size|username|login
landlord|dentist|mother|father|mum|mom|dad|desk|office|room|apartment|flat number|star sign|marital status
status|version|price|cost|rent|capital|owner|ceo|director|leader|head|chair|captain|password hint|destination
go-live|go-live date|meeting day|standup time|stand-up time|target|limit|location|venue|headquarters
"""
_ONE_OF = frozenset(word for line in _ONE_OF_TEXT.strip().splitlines() for word in line.split("|"))
_ONE_OF_KIND = re.compile(
    r"^(?:favou?rite|current|new|main|primary|preferred|default|latest|next|lieblings\w*)\b", re.I
)

_ANY = datetime(2000, 1, 3, tzinfo=UTC)  # which words are a date does not depend on when they were said
_SPEAKER = ("I", "i", "we", "We")
YOU, WE = "You", "We"  # how the person, and those for whom the person speaks, are named


@dataclass(frozen=True, slots=True)
class Relation:
    subject: str
    name: str  # UPPER_SNAKE
    object: str
    since_start: bool = False  # the object began now ("moved to"), not only holds


_ADV = (
    r"(?:(?:currently|now|actually|still|just|recently|also|already|finally|always|usually|mostly|really|officially"
    r"|mainly|absolutely|totally|both|all|since then|have|has|had|'ve) )*"
)
_NAMED = (
    r"[^\W\d_a-z][\w'’.&-]*(?: (?:(?:of|de|van|von|der|du|la) )?[^\W\d_a-z][\w'’.&-]*){0,3}(?:'s(?: [\w-]+){1,3}?)?"
)
_SUBJECT = rf"(?P<subject>I|i|we|We|(?:[Mm]y|[Oo]ur|[Tt]he)(?: [\w'’-]+){{1,4}}?(?: (?:of|for) (?:the |my |our )?[\w'’-]+(?: [\w'’-]+){{0,2}}?)?|{_NAMED})"
_OBJECT = r"(?P<object>.+)"

# After the subject, in present form; `s` is optional for others than the speaker. The first that fits counts.
_RULES: tuple[tuple[str, str], ...] = (
    (r"(?:have |has |'ve )(?:\w+ )?lived (?:in|at) ", "LIVES_IN"),
    (r"(?:am |is |are |was |were |been )?(?:live|lives|living|reside|resides|residing|based|settled) (?:in|at) ", "LIVES_IN"),
    (r"(?:moved|relocated|emigrated)(?: (?:house|home|out|back|over))?(?: from [^,]{2,40}?)? (?:to|into) ", "MOVED_TO"),
    (r"(?:live|lives|am living|is living|are living) with ", "LIVES_WITH"),
    (r"(?:am |is |are |been )?(?:work|works|working|employed) (?:for|at|by) ", "WORKS_FOR"),
    (r"(?:started|began)(?: working| work| a (?:new )?job| my (?:new )?job)? (?:at|with) ", "WORKS_FOR"),
    (r"(?:am |is |are )?(?:work|works|working) in ", "WORKS_IN"),
    (r"(?:got|took|accepted|found|landed) an? (?:new )?(?:job|position|role) (?:at|with) ", "WORKS_FOR"),
    (r"(?:changed|switched|moved) (?:jobs|companies|employers)(?: from [^,]{2,40}?)? to ", "WORKS_FOR"),
    (r"left [^,]{2,40}? (?:for|to join|and joined) ", "WORKS_FOR"),
    (r"(?:am |is |are |been )?(?:work|works|working|employed) as (?:an? |the )?", "WORKS_AS"),
    (r"(?:(?:got|was|were|am|is|been) )?(?:promoted|appointed) (?:to|as) (?:an? |the )?", "WORKS_AS"),
    (r"became (?:an? |the )", "WORKS_AS"),
    (r"(?:am|is|are) (?:called|named) ", "NAME"),
    (r"(?:go|goes) by ", "NAME"),
    (r"(?:(?:am|is|are) (?:now )?|turned )(?=\d{1,3}(?: years?(?: old| of age)?)?(?:$|,(?!\d)| (?:now|today|yesterday|last|this|in|on)\b))", "AGE"),
    (r"(?:am|is|are|got|been) (?:happily )?married to ", "MARRIED_TO"),
    (r"married (?=[^\W\d_a-z])", "MARRIED_TO"),
    (r"(?:was|were|am|is) born in (?!\d)", "BORN_IN"),
    (r"(?:was|were|am|is) born (?:on|in) ", "BORN_ON"),
    (r"(?:report|reports|am reporting|is reporting) to ", "REPORTS_TO"),
    (r"(?:am |is |are )?(?:study|studies|studying|enrolled) at ", "STUDIES_AT"),
    (r"(?:study|studies|am studying|is studying|are studying) ", "STUDIES"),
    (r"(?:am|is|are) (?:located|situated|hosted) (?:in|at) ", "LOCATED_IN"),
    (r"(?:was|were|been|got|is|are) (?:moved|changed|postponed|pushed(?: back)?|shifted|rescheduled|brought forward|"
     r"raised|lowered|increased|reduced|extended|set)(?: from [^,]{1,40}?)? (?:to|until|for) ", "CHANGED_TO"),
    (r"(?:changed|moved|slipped|shifted)(?: from [^,]{1,40}?)? to ", "CHANGED_TO"),
    (r"(?:costs?|cost) ", "COSTS"),
    (r"(?:have|has|own|owns|got|have got|has got) (?:an? |the )?", "HAS"),
    (r"(?:like|likes|love|loves|adore|adores|enjoy|enjoys|am fond of|is fond of|am into|is into) ", "LIKES"),
    (r"(?:hate|hates|dislike|dislikes|detest|detests) ", "DISLIKES"),
    (r"(?:prefer|prefers) ", "PREFERS"),
    (r"(?:am|is|are) allergic to ", "ALLERGIC_TO"),
    (r"(?:speak|speaks) ", "SPEAKS"),
    (r"(?:play|plays) ", "PLAYS"),
    (r"(?:drive|drives) (?:an? )?", "DRIVES"),
    (r"(?:use|uses|am using|is using|are using) ", "USES"),
    (r"(?:am|is|are|was|were) (?:from) ", "COMES_FROM"),
    (r"(?:come|comes) from ", "COMES_FROM"),
    (r"(?:am|is|are|'s) (?:now )?", "IS"),
)  # fmt: skip
_ENGLISH = re.compile(
    rf"^{_SUBJECT} {_ADV}(?:"
    + "|".join(f"(?P<r{index}>{rule})" for index, (rule, _) in enumerate(_RULES))
    + rf"){_ADV}{_OBJECT}$"
)
_SET = re.compile(
    r"^(?P<subject>I|i|We|we) (?:have )?(?:just )?(?:changed|updated|moved|set|switched|renamed) (?P<noun>(?:my|our|the) [\w' -]{2,50}?)"
    r"(?: from [^,]{1,40}?)? to (?P<object>.+)$"
)
_REVERSED = re.compile(
    r"^(?P<object>[\w' .&-]{2,50}?) is (?:now )?(?:my|our) (?P<noun>(?:new |favou?rite |current )?[\w' -]{2,40})$"
)
_FAVOURITE = re.compile(
    r"^(?P<subject>I|i|We|we) (?:like|love)s? (?P<object>[\w' .&-]{2,50}?) (?:the )?(?:best|most)(?: of all)?$"
)
_VERB = re.compile(
    r"^(?P<subject>I|i|we|We|(?:[Mm]y|[Oo]ur) (?:[\w'-]+ ){0,2}?[\w'-]+|" + _NAMED + rf") {_ADV}(?P<verb>[a-z]{{3,20}})"
    r"(?P<particle> (?:to|at|in|on|for|with|from|up|out|about|into|through|over))? (?P<object>.{2,200})$"
)
_PAST = re.compile(
    r"^(?:\w+ed|went|came|made|gave|wrote|took|bought|got|met|won|ran|found|built|left|lost|sold|drove|flew|grew|led|began"
    r"|broke|chose|taught|caught|brought|spent|sent|became|fell|held|paid|drew|sang|swam|ate|wore|read)$"
)
_HABIT = re.compile(
    r"^(?:cook|run|teach|sell|grow|collect|ride|paint|write|train|volunteer|manage|lead|maintain|develop|practi[sc]e|commute"
    r"|wear|eat|drink|watch|bake|sing|dance|knit|hike|swim|code|support|sponsor|deploy|host|buy|rent|breed|coach|organi[sz]e)s?$"
)
_NO_VERB_TEXT = """
think thought believe believed guess guessed suppose hope hoped wish wished wonder wondered want wanted need needed know
knew known mean meant see feel felt bet doubt imagine assume expect expected plan planned intend consider ask asked asking
say said tell told hear heard remember forget forgot understand understood agree disagree appreciate thank would could
should might must shall will can may have has had been was were are being the and but who that this which with from very
looking trying wondering asking seem seems let lets make sure get help look looks try tried used promise swear claim
"""
_NO_VERB = frozenset(_NO_VERB_TEXT.split())
_MOODS_TEXT = """
sure bit little sorry afraid glad happy curious wondering looking trying asking confused interested thinking hoping planning going
able unable unsure certain aware grateful thankful ready here back done good well fine ok okay great right tired bored
hungry stuck lost worried excited having getting being about it that what so too very quite writing thrilled amazed
sad angry late busy free available
"""
_MOODS = frozenset(_MOODS_TEXT.split())
_EMPTY_THINGS = re.compile(
    r"^(?:an? |the |some |any |few |lot |lots )*(?:questions?|problems?|issues?|doubts?|ideas?|trouble|requests?|look|thought"
    r"|feeling|fun|time|chance|it|them|that|this|one|to\b.*)\b",
    re.I,
)

_FOREIGN_TEXT: tuple[tuple[str, str], ...] = (
    (r"^[Ii]ch (?:wohne|lebe)(?: jetzt| nun| seit [\w ]+?| derzeit| aktuell)* in (?P<object>.+)$", "LIVES_IN"),
    (r"^[Ii]ch bin (?:[\w ]{0,25}?)nach (?P<object>.+?) (?:um)?gezogen$", "LIVES_IN"),
    (r"^[Ii]ch arbeite(?: jetzt| nun| seit [\w ]+?| derzeit)* (?:bei|für) (?P<object>.+)$", "WORKS_FOR"),
    (r"^[Ii]ch arbeite(?: jetzt| nun| seit [\w ]+?| derzeit)* als (?P<object>.+)$", "WORKS_AS"),
    (r"^[Ii]ch (?:heiße|heisse) (?P<object>.+)$", "NAME"),
    (r"^[Mm]ein Name ist (?P<object>.+)$", "NAME"),
    (r"^[Ii]ch bin (?P<object>\d{1,3}) Jahre alt$", "AGE"),
    (r"^[Ii]ch bin allergisch gegen (?P<object>.+)$", "ALLERGIC_TO"),
    (r"^[Ii]ch habe (?:einen?|eine) (?P<object>.+)$", "HAS"),
    (r"^[Mm]eine? (?P<noun>[\wäöüß -]{2,40}?) (?:ist|heißt|heisst)(?: jetzt| nun)? (?P<object>.+)$", ""),
    (r"^[Jj](?:'|e )(?:habite|vis|demeure)(?: maintenant| actuellement| désormais)* (?:à|en|au|aux) (?P<object>.+)$", "LIVES_IN"),
    (r"^[Jj]'ai déménagé (?:à|en|au) (?P<object>.+)$", "LIVES_IN"),
    (r"^[Jj]e travaille(?: maintenant| actuellement| désormais)* (?:chez|pour) (?P<object>.+)$", "WORKS_FOR"),
    (r"^[Jj]e travaille comme (?P<object>.+)$", "WORKS_AS"),
    (r"^[Jj]e m'appelle (?P<object>.+)$", "NAME"),
    (r"^[Jj]'ai (?P<object>\d{1,3}) ans$", "AGE"),
    (r"^[Jj]e suis allergique (?:à|au|aux) (?P<object>.+)$", "ALLERGIC_TO"),
    (r"^[Jj]'ai une? (?P<object>.+)$", "HAS"),
    (r"^[Mm](?:on|a) (?P<noun>[\wàâéèêëîïôûùç' -]{2,40}?) (?:est|s'appelle)(?: maintenant)? (?P<object>.+)$", ""),
    (r"^(?:[Yy]o )?(?:[Aa]hora )?[Vv]ivo(?: ahora| actualmente)* en (?P<object>.+)$", "LIVES_IN"),
    (r"^(?:[Yy]o )?[Mm]e (?:mudé|he mudado) a (?P<object>.+)$", "LIVES_IN"),
    (r"^(?:[Yy]o )?(?:[Aa]hora )?[Tt]rabajo(?: ahora| actualmente)* (?:en|para) (?P<object>.+)$", "WORKS_FOR"),
    (r"^(?:[Yy]o )?(?:[Aa]hora )?[Tt]rabajo(?: ahora)* (?:como|de) (?P<object>.+)$", "WORKS_AS"),
    (r"^[Mm]e llamo (?P<object>.+)$", "NAME"),
    (r"^[Tt]engo (?P<object>\d{1,3}) años$", "AGE"),
    (r"^[Ss]oy alérgic[oa] (?:a|al) (?P<object>.+)$", "ALLERGIC_TO"),
    (r"^[Tt]engo una? (?P<object>.+)$", "HAS"),
    (r"^[Mm]i (?P<noun>[\wáéíóúñ -]{2,40}?) (?:es|se llama)(?: ahora)? (?P<object>.+)$", ""),
)  # fmt: skip
_FOREIGN = tuple((re.compile(pattern), name) for pattern, name in _FOREIGN_TEXT)
_FOREIGN_ONE_OF_TEXT = """
lieblingsfarbe lieblingsessen lieblingsfilm lieblingsbuch chef chefin frau mann geburtstag adresse telefonnummer alter
arbeitgeber partner partnerin beruf couleur préférée|couleur préféré|film préféré|livre préféré|plat préféré|adresse|femme
mari|chef|patron|anniversaire|numéro|âge|métier color favorito|color preferido|película favorita|comida favorita
esposa|esposo|marido|jefe|jefa|cumpleaños|dirección|edad|profesión
"""
_FOREIGN_ONE_OF = frozenset(
    word.strip()
    for line in _FOREIGN_ONE_OF_TEXT.strip().splitlines()
    for part in line.split("|")
    for word in (part, *part.split())
)

_CUT = re.compile(
    r"(?:,? (?:because|since(?! \d)|but|so that|so i|although|though|while|when|where|which|who|and (?:i|we|my|our|it|he|she"
    r"|they|am|is|have)|as well as of|with my|with our|to be (?:closer|near)|as (?:an? |the )|for (?:the (?:last|past)|over|about|almost)?\s?"
    r"(?:\w+ )?(?:years?|months?|weeks?|days?|decades?)|these days|nowadays|at the moment|right now|anymore|as of|starting"
    r"|since|until|instead|weil|seit|aber|parce que|depuis|porque|desde|pero)\b.*| \(.*|[;–—].*|:(?!\d).*| - .*|, .*)$",
    re.I,
)
_TRAILING = re.compile(
    r"(?:,? (?:now|again|too|already|currently|today|these days|by the way|btw|actually|finally|instead"
    r"|jetzt|inzwischen|maintenant|ahora|please))+$",
    re.I,
)
_LEADING = re.compile(
    r"^(?:(?:well|ok|okay|yes|yeah|yep|no(?=[,.!])|oh|hi|hello|hey|hey there|btw|by the way|fyi|actually|also|so|and|but|anyway|"
    r"thanks|thank you|great|cool|hmm|just so you know|for the record|note that|remember that|remember|please note that|"
    r"please remember that|as of (?:today|now)|now|today|currently|good news|update|correction|sorry|to be clear|in fact|"
    r"of course|recently|lately|honestly|luckily|sadly|unfortunately|finally|then|übrigens|au fait|por cierto|a partir de ahora|"
    r"since \w+(?: \d{4})?|in (?:\w+ )?\d{4}|(?:last|this) \w+|yesterday|(?:\w+|\d+) \w+ ago)[,:!.;]? +)+",
    re.I,
)  # fmt: skip
_CONTRACTIONS = (
    (re.compile(r"\b([Ii])'m\b"), r"\1 am"),
    (re.compile(r"\b([Ii]|[Ww]e|[Tt]hey|[Yy]ou)'ve\b"), r"\1 have"),
    (re.compile(r"\b([Ww]e|[Tt]hey|[Yy]ou)'re\b"), r"\1 are"),
    (re.compile(r"\b((?:[Mm]y|[Oo]ur) [\w-]+)'s (?=[A-Z\d]|(?:called|named|now|an?)\b)"), r"\1 is"),
    (re.compile(r"\b([Hh]e|[Ss]he|[Ii]t)'s\b"), r"\1 is"),
)
_BREAKS = re.compile(
    r";\s+|\s+[–—-]\s+|,? (?:and|but|so|und|aber|et|mais|y|pero) (?=(?:now |then |ahora )?(?:I|i|we|my|our|ich|mein|meine|je|j'|mon|ma|vivo|trabajo|mi|me)\b)"
    r"|, (?=(?:I|we|my|our)\b)"
)
_PRONOUNS_TEXT = "it this that these those there he she they you here everything everyone all who"
_PRONOUN_NAMES = frozenset(_PRONOUNS_TEXT.split())
_PLACE_WORDS = re.compile(
    r"^(?:the |an? |my |our )?(?:new |bigger |smaller )?(?:flat|house|apartment|place|room|step|point|next|same)\b",
    re.I,
)


def clauses(sentence: str) -> Iterator[str]:
    """The parts of a sentence that each state something, in plain form: no contraction, no word that only introduces."""
    text = " ".join(sentence.replace("’", "'").split()).strip(" .!…*_-\"'")
    for pattern, plain in _CONTRACTIONS:
        text = pattern.sub(plain, text)
    for part in _BREAKS.split(text):
        clause = _LEADING.sub("", part.strip(" ,.!"))
        if clause:
            yield clause


def relation(clause: str) -> Relation | None:
    for pattern, name in _FOREIGN:
        if match := pattern.match(clause):
            return _foreign(match, name)
    if match := _SET.match(clause):
        return _made(match["subject"], _noun(match["noun"]), match["object"], since_start=True)
    if match := _REVERSED.match(clause):
        return _made("I", _noun(match["noun"]), match["object"])
    if match := _FAVOURITE.match(clause):
        return _made(match["subject"], "FAVOURITE", match["object"])
    if match := _ENGLISH.match(clause):
        return _english(match)
    match = _VERB.match(clause)
    return _verb(match) if match else None


def single(name: str) -> bool:
    """Whether the relation has one object at a time. Those made of a noun ("my favourite colour") tell by the noun."""
    noun = name.removeprefix("HAS_AS_").replace("_", " ").lower()
    if name in SINGLE:
        return True
    return name.startswith("HAS_AS_") and (noun in _ONE_OF or noun in _FOREIGN_ONE_OF or bool(_ONE_OF_KIND.match(noun)))


def _english(match: re.Match[str]) -> Relation | None:
    name = _RULES[int(str(match.lastgroup and _rule_of(match))[1:])][1]
    subject, thing = match["subject"], match["object"]
    if subject.lower() in _PRONOUN_NAMES:
        return None
    if name == "AGE" and subject.lower().startswith("the "):
        return _is(subject, thing)
    if name == "AGE":
        years = re.match(r"\d{1,3}", thing)
        return _made(subject, name, years.group()) if years else None
    if name in ("CHANGED_TO", "MOVED_TO"):
        return _moved(subject, name, thing)
    if name == "IS":
        return _is(subject, thing)
    if name in ("HAS", "LIKES", "STUDIES") and (_EMPTY_THINGS.match(thing) or _PARTICIPLE.match(thing)):
        return None
    if name in _OF_NAMES and not _proper(thing, subject):
        name = _OF_NAMES[name]
    return _made(subject, name, thing) if name else None


def _proper(thing: str, subject: str) -> bool:
    """Whether the object is a name. Who writes `i` writes names small, too."""
    bare = re.sub(r"^(?:the|an?) ", "", thing)
    return not bare[:1].islower() or (subject == "i" and bare == thing)


_PARTICIPLE = re.compile(
    r"(?:\w+ly )?(?:been|\w+ed|seen|given|known|made|taken|gone|done|had|got|come|become|found|begun|written|heard|said|told"
    r"|yet|to)\b"
)  # "I have seen": the perfect of another verb


def _rule_of(match: re.Match[str]) -> str:
    return next(
        name for name, value in match.groupdict().items() if value is not None and name[0] == "r" and name[1:].isdigit()
    )


def _moved(subject: str, name: str, thing: str) -> Relation | None:
    """People move to where they live then; what is theirs changes to what it is then."""
    if subject in _SPEAKER or (name == "MOVED_TO" and not subject.lower().startswith(("my ", "our ", "the "))):
        lives = name == "MOVED_TO" and _proper(thing, subject) and not _PLACE_WORDS.match(thing)
        return _made(subject, "LIVES_IN", thing, since_start=True) if lives else None
    if name == "MOVED_TO" and _PERSON.search(subject):
        return _made(subject, "LIVES_IN", thing, since_start=True) if _proper(thing, subject) else None
    return _is(subject, thing, since_start=True)


# What these hold one of at a time are names; what is none ("I live in a small flat") is said by another relation.
_OF_NAMES = {"LIVES_IN": "LIVES_AT", "WORKS_FOR": "WORKS_AT", "STUDIES_AT": "STUDIES", "BORN_IN": "", "MARRIED_TO": "",
             "REPORTS_TO": "", "NAME": "", "LOCATED_IN": "IS_IN"}  # fmt: skip
_PERSON = re.compile(
    r"\b(?:sister|brother|mother|father|mum|mom|dad|son|daughter|friend|wife|husband|partner|uncle|aunt|cousin|boss|manager"
    r"|colleague|neighbour|neighbor|grandmother|grandfather|girlfriend|boyfriend|parents|family|niece|nephew)s?\b",
    re.I,
)


def _is(subject: str, thing: str, *, since_start: bool = False) -> Relation | None:
    """`my wife is Anna`: a relation of the speaker's; `the deadline is Friday`; `I am a nurse`."""
    plain = re.sub(r"^an? (?=little|bit)", "", thing)
    first = plain.split()[0].strip(",.").lower() if plain.split() else ""
    owner = _owner(subject)
    if owner is not None:
        of, noun = owner
        fitting = _fitting(noun.lower(), thing)
        return _made(of, _noun(noun), fitting, since_start=since_start) if fitting else None
    if first in _MOODS or (first.endswith("ing") and not first[0].isupper()) or first in _PLACES:
        return None
    return _made(subject, "IS", re.sub(r"^(?:an?|the) ", "", thing))


_PLACES = ("to", "in", "on", "at", "with", "from", "out", "away", "off", "by", "under", "near", "like", "for", "of")


def _owner(subject: str) -> tuple[str, str] | None:
    """Whose what: `my dog's name`: my dog, name; `our deadline`: We, deadline; None for what belongs to nobody."""
    owned = re.match(r"(?P<whose>[Mm]y|[Oo]ur) (?P<noun>.+)", subject)
    if owned and "'s " in owned["noun"]:
        of, _, noun = owned["noun"].partition("'s ")
        return f"{owned['whose'].lower()} {of}", noun
    if owned:
        return ("I" if owned["whose"].lower() == "my" else "we"), owned["noun"]
    return _parts(subject) if subject.lower().startswith("the ") or "'s " in subject else None


_PEOPLE = re.compile(
    r"\b(?:boss|manager|supervisor|lead|wife|husband|partner|spouse|fianc\w+|girlfriend|boyfriend|dentist|doctor|mother"
    r"|father|mum|mom|dad|landlord|owner|ceo|cto|cfo|director|leader|head|chair|captain|name|sister|brother|friend|son"
    r"|daughter|colleague|teacher|capital|employer|hometown|home town|mentor|assistant|uncle|aunt|cousin)$"
)
_WHEN = re.compile(r"\b(?:birthday|deadline|date|day|time|go-live)$")
_COUNTED = re.compile(r"\b(?:age|number|salary|budget|height|weight|price|rent|cost|version|size|limit|target)$")
_TRADE = re.compile(r"\b(?:job|title|occupation|profession|role|position)$")
_SEAT = re.compile(r"\b(?:office|headquarters|desk|room|apartment|flat|house|home|venue|location|destination|address)$")
_CLOCK = re.compile(r"\d|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day|noon|midnight", re.I)
_ACTIVITY = re.compile(r"\b(?:hobby|sport|passion|pastime|favou?rite [\w ]+|subject|speciality|specialty)$")
_JUDGED = re.compile(
    r"^(?:very|so|too|quite|really|pretty|not|nice|great|good|bad|terrible|awful|boring|fun|tight|close|coming|hard|easy"
    r"|ill|sick|fine|okay|ok|broken|missing|lost|gone|done|over|ready|late|early|full|empty|big|small|huge|old|new|high"
    r"|low|amazing|lovely|wonderful|important|different|better|worse|best|worst|back|here|there|married|pregnant|dead"
    r"|being|getting|coming|going|[\w-]+ing|running|to|that|what|because)\b"
)


def _fitting(noun: str, thing: str) -> str:
    """The object, where it is what such a noun can be; empty for a remark about it ("my boss is nice")."""
    placed = re.match(r"(?:in|at|on) (?:the )?(?=\S)", thing)
    if placed and (_SEAT.search(noun) or _WHEN.search(noun)):
        thing = thing[placed.end() :]
    elif thing.split()[0].lower() in _PLACES:
        return ""
    if _PEOPLE.search(noun):
        return "" if thing[:1].islower() else thing
    if _WHEN.search(noun):
        return thing if _CLOCK.search(thing) else ""
    if _COUNTED.search(noun):
        return thing if any(char.isdigit() for char in thing) else ""
    if _TRADE.search(noun):
        article = re.match(r"an? ", thing)
        return thing[article.end() :] if article else ("" if thing[:1].islower() else thing)
    return "" if _JUDGED.match(thing) and not _ACTIVITY.search(noun) else thing


def _parts(subject: str) -> tuple[str, str]:
    """`Anna's birthday`: Anna, birthday; `the deadline of Orion`: Orion, deadline; `the Orion deadline`: Orion, deadline."""
    if "'s " in subject:
        of, _, noun = subject.rpartition("'s ")
        return of, noun
    bare = re.sub(r"^the ", "", subject, flags=re.I)
    noun, _, of = bare.partition(" of ") if " of " in bare else bare.partition(" for ")
    if of:
        return re.sub(r"^(?:the|my|our) ", "", of), noun
    words = bare.split()
    size = 2 if " ".join(words[-2:]).lower() in _ONE_OF else 1
    return " ".join(words[:-size]) or bare, " ".join(words[-size:])


def _noun(noun: str) -> str:
    bare = re.sub(r"^(?:my|our|the) ", "", noun.strip().lower())
    bare = bare.replace("favorite", "favourite").replace("color", "colour")
    if bare not in _ONE_OF:
        without = re.sub(r"^(?:new|current|own|present|actual) ", "", bare)
        bare = without if without in _ONE_OF or bare.startswith(("own ", "actual ", "present ")) else bare
    if bare in ("name", "first name", "full name"):
        return "NAME"
    if bare == "age":
        return "AGE"
    if bare in ("employer", "new employer"):
        return "WORKS_FOR"
    if bare in ("job", "job title", "occupation", "profession", "role", "position"):
        return "WORKS_AS"
    if bare in ("boss", "manager", "line manager", "supervisor"):
        return "REPORTS_TO"
    if bare in ("wife", "husband", "spouse"):
        return "MARRIED_TO"
    if bare in ("birthday", "birth date", "date of birth"):
        return "BORN_ON"
    return "HAS_AS_" + re.sub(r"\W+", "_", bare).strip("_").upper()[:60]


def _verb(match: re.Match[str]) -> Relation | None:
    verb, subject = match["verb"], match["subject"]
    last = subject.split()[-1].lower()
    if (
        verb in _NO_VERB
        or subject.lower() in _PRONOUN_NAMES
        or last in _NO_VERB
        or (verb.endswith("ly") and len(verb) > 4)
    ):
        return None
    if not _PAST.search(verb) and not (_HABIT.search(verb) and not match["particle"]):
        return None
    return _made(subject, (verb + (match["particle"] or "")).upper().replace(" ", "_"), match["object"])


def _foreign(match: re.Match[str], name: str) -> Relation | None:
    if name:
        return _made("I", name, match["object"])
    noun = match["noun"].strip().lower()
    return _made("I", "HAS_AS_" + re.sub(r"\W+", "_", noun).upper(), match["object"])


def _made(subject: str, name: str, thing: str, *, since_start: bool = False) -> Relation | None:
    found = _object(thing, keep_date=name in ("BORN_ON", "IS_ON") or name.startswith("HAS_AS_"))
    who = {"i": YOU, "we": WE}.get(subject.lower(), re.sub(r"^(?:the|The) ", "", subject))
    who = re.sub(r"^(?:My|Our) ", lambda match: match.group().lower(), who)
    if not found or found.lower() in _PRONOUN_NAMES or not any(char.isalnum() for char in found) or found == who:
        return None
    return Relation(who, name, found, since_start)


def _object(thing: str, *, keep_date: bool) -> str:
    """The words that name the object: without reason, time and afterthought; at most eight of them."""
    text = _TRAILING.sub("", _CUT.sub("", thing).strip(" ,.!"))
    if not keep_date:
        for date in dates(text, _ANY):
            text = re.sub(
                r"(?:[, ]+(?:in|on|since|from|at|until|by|of|the))*$", "", text[: date.start].rstrip(" ,"), flags=re.I
            )
            break
    return " ".join(re.sub(r"^(?:the|an?) ", "", text.strip(" ,.!")).split()[:8])[:120]
