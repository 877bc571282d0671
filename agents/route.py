# ruff: noqa: E501 - a pattern is easier to check on one line
"""Which way a question takes: rules on its words, first match wins, `retrieve` when none does.

No model: a rule takes microseconds, errs in ways that can be tested, and works offline. Rules for small talk and for
requests that documents cannot meet come first, because they are about the whole sentence; those for relations last,
because a wrong `relate` costs a few milliseconds only. Measured in tests/agents/test_route.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from langgraph.runtime import Runtime

from agents.dispute import disputes
from agents.inventory import understood
from agents.rows import RowCounter
from agents.state import Context, Route, State
from agents.topic import TALK, content_words
from memory.hops import relates
from memory.statements import only_states

READ_CHARS = 600  # a route shows early; the rest of a long question is not looked at

_GREETING = r"(?:hi|hiya|hello|hey|hallo|howdy|greetings|good (?:morning|day|afternoon|evening|night)|moin|servus|bonjour|salut|hola|ciao|guten (?:tag|morgen|abend))(?: (?:there|again|all|everyone|everybody|team|you|assistant|aegis|aegisrag))?"
_THANKS = r"(?:thanks|thank you|thx|cheers|danke|merci|gracias|much appreciated)"
_DOCUMENT = (
    r"(?:documents?|docs?|files?|pdfs?|uploads?|spreadsheets?|presentations?|sources|collections?|chunks|passages|"
    r"entities|facts|knowledge base|corpus)"
)
_FEW_WORDS = r"(?:[\w'-]+ ){0,3}?"
_TOLD = (
    r"(?:say|said|ask|asked|tell|told|mention|mentioned|talk|talked|talking|discuss|discussed|speak|spoke|chat|chatted|"
    r"recommend|recommended|suggest|suggested|answer|answered|reply|replied|explain|explained|cite|cited|write|wrote)"
)
_PERSONAL = (
    r"(?:full |first |last )?(?:name|birthday|age|address|job|hobby|hobbies|home town|hometown|phone number|"
    r"(?:favou?rite|preferred) [\w ]+|dog|cat|pet|wife|husband|partner|son|daughter|children|kids|boss)"
)

_BRIEF = (
    r"(?:ok|okay|k|yes|yeah|yep|no|nope|sure|right|fine|great|cool|nice|wow|perfect|super|awesome|good|lovely|excellent|alright|"
    r"all right|lol|haha+|hm+|aha|ah|oh|i see|got it|understood|makes sense|then|well|so|interesting|please|test|testing|ping|"
    rf"thanks|thank you|thx|cheers|a lot|very much|so much|{_GREETING})"
)

# Small talk: the whole message is nothing else.
_SMALL_TALK = (
    rf"{_THANKS}\b(?! to\b)(?:[^?]{{0,60}})",
    rf"{_BRIEF}(?:[ ,.!;-]+{_BRIEF}){{0,5}}",
    r"(?:bye|goodbye|good bye|bye bye|see (?:you|ya)|farewell|take care|tschüss|au revoir|have a (?:nice|good|great) )\b.{0,30}",
    r"(?:how are you|how do you do|how is it going|how's it going|what's up|sup|how are things)\b.{0,20}",
    r"(?:who|what) (?:are|r) you(?: (?:actually|really|exactly|anyway|then))?|(?:what's|what is|whats) your (?:name|purpose|job)|introduce yourself",
    r"what (?:can|do) you do(?: for me)?|how (?:do|can) you (?:work|help)(?: me)?|(?:can|could|will) you help(?: me)?|help(?: me)?",
    r"are you (?:there|real|alive|ok|okay|well|busy|ready|awake|free|human|conscious|sentient|listening|chatgpt|gpt|(?:a|an|the|some|just a|really a) [\w ]{2,30}(?:or [\w ]{2,20})?)(?: today| now)?|who (?:made|built|created|programmed|wrote|trained) you|do you (?:sleep|have a name|understand(?: me)?|speak [a-z]+)",
    r"(?:i )?(?:really |do |much )?appreciate .{0,40}|that (?:makes sense|helps|helped|works|will do|is all|was all|'s all)\b.{0,20}|(?:i|we) (?:see|understand|agree)",
    r"how (?:can|could|do) you (?:help|assist|support|work)\b.{0,10}|what (?:are|can) you .{0,25}|(?:i am|i'm) (?:bored|tired|happy|sad|back|here|new here|done|fine|good)\b.{0,20}",
    rf"{_BRIEF}(?:[ ,.!;-]+{_BRIEF}){{0,3}} for [\w ']{{3,40}}",
    r"(?:that|this|it)(?:'s| is| was)(?: not|n't) (?:at all )?(?:what|how) (?:i|we) [\w ]{3,25}|i (?:do not|don't|did not|didn't) (?:understand|get|follow|believe)(?: you| it| that| this)?|i'm confused",
    r"(?:merry|happy) [\w ]{4,20}|yo+|(?:can|could) (?:anyone|you|somebody) hear me|how (?:are|r) (?:you|u) .{0,20}|(?:ok |okay |so |well )*(?:bye|goodbye|cheers|cya)\b.{0,20}",
    r"(?:you are|you're|u r) (?:\w+ ?){1,4}",
    r"(?:that|this|it)(?: was|'s| is) (?:not |so |very |really |a )*(?:helpful|useful|great|good|bad|wrong|right|nice|perfect|useless|awesome|terrible|funny|interesting)\b.{0,25}",
    r"(?:i am |i'm )?(?:so |very )?sorry\b(?: (?:about|for) [\w ]{2,30})?(?:, (?:my|i) [\w ]{2,25})?|my (?:bad|mistake)|never ?mind|no (?:problem|worries)",
    r"(?:nice|pleased|glad|good) to (?:meet|see) you\b.{0,20}|welcome back|(?:i )?hope you\b.{0,60}",
    r"(?:good|great|nice|well) (?:job|work|done|answer)|i (?:love|like|hate) you\b.{0,20}",
)

# Requests that no document collection can meet: live data, actions, inventions, opinions.
_OFF_TOPIC = (
    r"(?:^(?:please |can you |could you |now |then )*|\b(?:please|you) )(?:tell|sing|write|compose|make up|give|read|invent|create) (?:me |us )?(?:a |an |another |some |the )?(?:[\w-]+ ){0,2}"
    r"(?:joke|poem|song|story|haiku|rap|limerick|riddle|lullaby|love letter|novel)s?\b",
    r"^(?:please )?(?:write|code|implement|generate|create) (?:me )?(?:a|an|some) (?:[\w+#-]+ ){0,3}(?:function|script|program|code|app|website|game)\b",
    r"\bweather\b.*\b(?:today|tomorrow|like|now|tonight|forecast|weekend|outside)\b|\bwill it (?:rain|snow)\b",
    r"\bwhat(?:'s| is) the time\b|\bwhat time is it\b|\bwhat (?:day|date) is (?:it|today)\b|\b(?:today's date|what day is today)\b",
    r"^(?:please |can you |could you )?translate\b",
    r"\b\d+(?:\.\d+)? (?:times|plus|minus|divided by|multiplied by) \d+\b|\bsquare root of \d|^(?:what(?:'s| is)|how much is|and|so)? ?\d[\d .]*(?: ?[x*+/-] ?\d[\d .]*)+\W*$",
    r"^(?:please |can you |could you )?(?:book|order|buy|reserve) (?:me |us )?(?:a|an|some|two|the)\b",
    r"^(?:please |can you |could you )?(?:play|sing|dance|draw|paint)\b",
    r"\b(?:weather|rain|snow|sunny|forecast)\b.*\b(?:on|this|going to)\b|\bgoing to (?:rain|snow)\b",
    r"^(?:please |can you |could you )?(?:solve|calculate|compute|integrate|factorise|factorize)\b",
    r"^(?:please |can you |could you )?(?:pretend|imagine|act as|act like|role-?play|behave like|talk like|speak like)\b|\b(?:something|anything) (?:funny|interesting|nice)\b",
    r"^(?:please |can you |could you )?(?:write|compose|draft) (?:me )?(?:a|an|some|my) (?:[\w-]+ ){0,2}(?:message|letter|essay|speech|e-?mail|cover letter|tweet|post|card|review|cv)\b",
    r"^(?:please |can you |could you )?(?:call|get|hail) (?:me )?(?:a |an )?(?:taxi|cab|uber|doctor|ambulance)\b|^(?:please )?turn (?:on|off|up|down) the (?:light|lights|tv|heating|music|volume)\b",
    r"\bset (?:an? |the |my )(?:alarm|timer|reminder)\b|\b(?:send|write) (?:an? |the )?(?:e-?mail|message|text|sms) to\b|^(?:please )?(?:call|text|phone) (?:my|mum|mom|dad)\b",
    r"\bnear me\b|\bnearby\b|\bshould i (?:break|marry|date|divorce|leave my|quit my)\b",
    r"\b(?:stock|share|bitcoin|crypto) (?:price|market)\b.*\b(?:now|today|currently)\b|\blottery numbers\b|\bhoroscope\b",
    r"\bwho(?: do you think)? will (?:be the next|win)\b|\bwill win\b|\bmeaning of life\b",
    r"^(?:please |can you |could you )?(?:do|finish|solve|check) my (?:\w+ )?(?:homework|taxes|laundry|assignment|exam)\b|^(?:please |can you |could you )?(?:make|let) me (?:laugh|smile|happy|a (?:coffee|tea|sandwich))\b|\bcheer me up\b",
    r"^(?:please |can you |could you )?(?:convert|change) \d|^(?:please |can you |could you )?(?:remind|wake) me (?:to|at|in|up)\b|^(?:please |can you |could you )?(?:email|e-mail|text|message|phone|ring|tweet) [\w ]{2,30}(?: that\b|\W*$)",
    r"\bwhat should (?:i|we) (?:wear|eat|cook|watch|buy|do (?:today|tonight|this weekend))\b|\brecommend (?:me |us )?(?:a |an |some )(?:good |nice )?(?:movie|film|song|game|series)\b",
    r"\b(?:bitcoin|ethereum|dogecoin|dow jones|nasdaq)\b.{0,30}\b(?:at|worth|price|now|today)\b|\b(?:score|result) of the (?:game|match)\b|^(?:please )?give (?:me|us) (?:a |an |some )(?:good |nice |cute )?(?:name|names|nickname) for my\b",
    r"\bdo you (?:love|like|hate|feel|dream|sleep|eat|believe in|have (?:feelings|friends|a soul))\b",
    r"\b(?:ignore|forget|disregard) (?:all |any )?(?:your |the |my |previous |prior )+(?:instructions|rules|prompt)\b|\b(?:show|print|reveal|repeat|output|tell me|what is|what's) (?:me )?your (?:\w+ )?(?:system )?prompt\b",
)

_ADVERB = (
    r"(?:just|already|once|ever|earlier|previously|also|last|first|only|originally|actually|even|really|been|exactly)"
)
_TALK = r"(?:say|ask|tell|mention|talk|discuss|speak|chat|recommend|suggest|answer|reply|explain|cite|name|list|mean|cover|go over|touch on)"
_PAST_TALK = (
    r"(?:said|asked|told|mentioned|talked|talking|discussed|discussing|spoke|spoken|chatted|recommended|suggested|answered|replied|explained|"
    r"cited|gave you|gave me|given you|given me|named|listed|covered|gone over|went over|been over|touched on|shared with you)"
)
_MINE = r"(?:my|your) (?:very |most )?(?:first|second|third|last|previous|earlier|latest|recent|original) (?:\w+ )?(?:question|message|answer|reply|response|request|point|sentence|remark|suggestion|explanation)s?"

# About conversations, or about what the asker said of themselves.
_RECALL = (
    r"\b(?:i|we|you) (?:have |had |'ve )?(?:just |already |once |earlier |previously |also )*(?:asked|told|said|mentioned|recommended|suggested) (?:you|me|us|that|this|my|about|it|earlier|before)\b",
    rf"\b(?:didn't|haven't|hadn't|did|have) (?:i|we|you)\b[^?]{{0,25}}\b{_TOLD}\b|\byou (?:gave|showed|sent|named|listed) (?:me|us)\b|\b(?:repeat|rephrase|say) (?:that|this|it|yourself)\b(?: again)?[?.! ]*$",
    r"\b(?:tool|book|name|link|one|option|file|thing|place|word|number|document|answer)s? (?:that )?you (?:suggested|mentioned|recommended|gave|named|said|told|showed|listed|cited)\b|\bcome back to (?:what|my)\b",
    rf"\b(?:did|have|had) (?:i|we)\b[^?]{{0,40}}\b{_TOLD}\b",
    rf"\b(?:did|have|had) you\b[^?]{{0,20}}\b{_TOLD}\b",
    rf"\b(?:what|as|that|which|where|when) (?:i|we|you)(?: just| last| already| once| had| have)* {_TOLD}\b",
    r"\byou(?: just| already| once)* (?:said|told|mentioned|recommended|suggested|answered|explained|cited)\b",
    r"\b(?:were|was|have) (?:we|i|you) (?:just )?(?:talking|saying|asking|discussing|telling|speaking)\b",
    r"\bwe(?: last| just| already| once)* (?:talked|spoke|chatted|discussed)\b",
    r"\b(?:our|this) (?:whole |entire |last |previous |first |earlier )*(?:conversation|chat|dialogue)\b(?! (?:store|history|page|model|api|stream))",
    r"\bthe (?:whole |entire )?(?:conversation|chat|dialogue)(?: so far| we had| until now| up to now)\b|^(?:please )?summ[\w]+ (?:the )?(?:whole |entire )?(?:conversation|chat|dialogue)\W*$",
    rf"\b(?:i|you|we)(?:'d|'ve| have| had)? (?:{_ADVERB} ){{0,2}}{_PAST_TALK}\b(?! (?:to|up|in|on)\b)",
    rf"\b(?:did|didn't|have|haven't|had|hadn't) (?:i|we|you) (?:{_ADVERB} ){{0,2}}(?:{_PAST_TALK}|{_TALK})\b",
    rf"\b(?:topics|subjects|things|questions|points) (?:that )?(?:have )?(?:i|we|you) (?:{_ADVERB} ){{0,2}}{_PAST_TALK}\b",
    rf"\bwhat(?:'s| is| was| are| were) my (?:[\w-]+ ){{1,4}}(?:again|called)\b|\btell me again\b|\b{_MINE}\b",
    r"\b(?:my|your) (?:very )?(?:first|second|third|last|previous|earlier|latest|other|original) (?:\w+ )?(?:questions?|messages?|answers?|repl(?:y|ies)|responses?|requests?)\b",
    r"\bdo you (?:still )?(?:remember|recall)\b|\bremind me (?:what|of|when|which|who|where|how)\b|\b(?:asked|said) (?:this|that|it) before\b",
    rf"\b(?:what|who|when|where|how old)(?:'s| is| was| are| were)? my {_PERSONAL}\b(?: called| again)?[?. ]*$",
    r"\bthings? (?:that )?(?:i|we) (?:just |first |last )*(?:asked|said|told)\b|\bknow about me\b|\bwho am i\b|\bwhere do i (?:live|work)\b|\babout myself\b|\bi (?:first|last|just) asked\b",
)

_LIMIT = r"\b(?:can(?! (?:i|we|you) (?:see|read|use|search|access|ask))|(?<!^)may|could(?! you)|max|maximum|at most|limit|allowed|per|minimum|supported|support)\b"

# Counting and listing what is there, as opposed to what it says.
_INVENTORY = (
    rf"\b(?:how many|count|number of|total of) (?:of )?(?:the |all |my |our |different )*{_FEW_WORDS}{_DOCUMENT}\b",
    rf"\b(?:which|what) {_FEW_WORDS}{_DOCUMENT} (?:do|does|are|is|have|has|had|did|was|were|there|exist|in|i|we|you|can (?:i|we|you) (?:see|read|use|search|access))\b",
    r"\b(?:which|what) (?:file types|file formats|types of (?:files|documents)|tags) (?:are|do|have|exist)\b",
    rf"^(?:please |can you |could you )?(?:list|show|display|enumerate|give|name|count)(?: me| us)? (?:an? (?:list|overview|count) of )?(?:all|every|the|my|our|any|recent|new|[a-z]+ most|)\b ?{_FEW_WORDS}{_DOCUMENT}\b",
    rf"\b(?:newest|latest|most recent|oldest|longest|shortest|largest|biggest|smallest|last) {_FEW_WORDS}{_DOCUMENT}\b",
    r"\bwhat(?:'s| is| all is) (?:there )?in (?:the|your|my|our|this) (?:knowledge base|index|library|collection|corpus|database|store)\b",
    rf"\b(?:is|are) there (?:a|an|any) {_FEW_WORDS}{_DOCUMENT} (?:called|named|titled|with the (?:name|title|tag)|from|in)\b",
    rf"\bdo (?:you|we|i) have (?:(?:a|an|any|access to|how many) )?{_FEW_WORDS}{_DOCUMENT}[?. ]*$",
    rf"\b(?:do|did|have) (?:you|we|i) (?:have|got|hold|store|keep|know) (?:of )?(?:any|some) {_FEW_WORDS}{_DOCUMENT}\b(?! about| on (?!file)| that | which )",
    rf"\b(?:is|are) (?:any|some|all) {_FEW_WORDS}{_DOCUMENT} (?:in|on|stored|here|available|loaded|tagged|there)\b|\b(?:do|does) any {_DOCUMENT} (?:carry|have|bear|use) the tags?\b",
    rf"^number of {_FEW_WORDS}{_DOCUMENT}\W*$|\b(?:which|what) {_DOCUMENT} (?:you )?can (?:you|i|we)? ?(?:search|see|read|ask about|use|access)\b|\b(?:html|web|markdown|pdf|word|text) pages\b.{{0,20}}\b(?:indexed|stored|there)\b",
    rf"\bwhat (?:kinds?|types?|sorts?) of {_DOCUMENT}\b.{{0,40}}$",
    rf"\bare there (?:any |some |more )?{_FEW_WORDS}{_DOCUMENT}(?: here| available| yet| in .{{1,30}})?[?. ]*$",
    r"\bhow (?:large|big) is (?:the|your|our|my) (?:knowledge base|index|library|collection|corpus|database)\b|\b(?:show|list) (?:me )?(?:everything|all) (?:that )?(?:you|we|i) (?:have|know|can see)\b",
    rf"\b(?:everything|what) (?:that )?(?:was|has been|have been|i|we) (?:recently |just )?(?:uploaded|indexed|ingested|added)\b|^{_FEW_WORDS}{_DOCUMENT} (?:added|uploaded|indexed|ingested) (?:today|yesterday|this|last|recently)\b",
)
# The thing is named only to say in, after or by which of it: what is asked stands in a text.
_BY_THE_WAY = re.compile(
    r"\b(?:in|into|from|by|at|on|of|with|under|through|after|before|within|per|for|to) (?:which|what|how many)\b"
    r"|\b(?:which|what) (?:file|document|command|module|folder|chunk|passage)\b (?:is|are|was|were|does|do|has|have|did) (?!there|indexed|added|uploaded|ingested|stored|in (?:the|your|our|my) (?:collection|index|library|knowledge)|newest|oldest|longest|shortest|the (?:newest|oldest|longest|shortest|largest|biggest|smallest|latest|last|most))\w+"
)
_ABOUT_CONTENT = (
    r"^(?!.*\bhow many\b)(?!.*\bcount\b)(?!.*\bcan (?:i|we) ask (?:you )?about\b)"
    r".*\b(?:mention|mentions|mentioned|say|says|describe|describes|explain|explains|cover|covers|about|discuss|discusses)\b"
)


def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_SMALL = re.compile("(?:" + "|".join(f"(?:{pattern})" for pattern in _SMALL_TALK) + r")[ .!,?;:)(-]*")
_HELLO = re.compile(rf"^(?:{_GREETING})\b[ ,.!;:-]*")
_OFF, _MEMORY, _COUNTED = _any(_OFF_TOPIC), _any(_RECALL), _any(_INVENTORY)
_THIS_CONVERSATION = re.compile(
    r"\b(?:i|you) (?:just |last |first |already )*(?:ask|asked|say|said|told|tell|mentioned|mention|answered)\b"
    r"|\b(?:my|your) (?:first|second|third|last|previous|earlier) (?:question|message|answer|reply)\b"
    r"|\b(?:our|this) (?:last |previous )?(?:conversation|chat)\b|\babout me\b|\bwho am i\b|\bmy (?:\w+ )?name\b"
)
_BOUND, _CONTENT = re.compile(_LIMIT), re.compile(_ABOUT_CONTENT)


@lru_cache(maxsize=256)  # several steps ask the same
def classify(question: str) -> Route:
    if disputes(question):
        return "dispute"
    text = " ".join(question[:READ_CHARS].lower().replace("’", "'").split())
    while greeting := _HELLO.match(text):
        text = text[greeting.end() :]
    if not any(letter.isalnum() for letter in text) or _SMALL.fullmatch(text):
        return "converse"
    if _MEMORY.search(text):
        return "recall"
    if _OFF.search(text):
        return "converse"
    if _is_inventory(text):
        return "inventory"
    return "relate" if relates(text) else "retrieve"


def about_this_conversation(question: str) -> bool:
    """Whether only the conversation itself can answer: it names nothing else that could stand in a document."""
    text = question[:READ_CHARS].lower()
    return bool(_THIS_CONVERSATION.search(text)) and not [word for word in content_words(text) if word not in TALK]


def _is_inventory(text: str) -> bool:
    return (
        bool(_COUNTED.search(text))
        and not _BOUND.search(text)
        and not _CONTENT.search(text)
        and not _BY_THE_WAY.search(text)
    )


@dataclass(frozen=True)
class Router:
    """Sets `route`. No route ends worse than a look into the documents: a question about conversations that means none
    of them goes there, and so does a count with a condition that the catalogue does not know."""

    rows: RowCounter | None = None

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        route = classify(state["question"])
        if route == "dispute":
            return {"route": route}
        if state.get("facts"):  # the person said it: what documents say is another memory
            return {"route": "recall"}
        if only_states(state["question"]):
            return {"route": "converse"}
        if route == "converse" or (
            route == "recall" and (state.get("recalled") or about_this_conversation(state["question"]))
        ):
            return {"route": route}
        if route == "inventory" and not understood(state["standalone"]).unknown:
            return {"route": route}
        if self.rows is not None and route in ("inventory", "retrieve"):
            scope = runtime.context.scope.narrowed(runtime.context.filters.get("collection"))
            counted = await self.rows(state["standalone"], scope, state.get("epoch", runtime.context.known_at))
            if counted is not None:
                told = {"text": counted.text, "declined": counted.declined}
                return {"route": "inventory", "counted": told, "named": list(counted.documents)}
        relate = runtime.context.mode == "graph" or classify(state["standalone"]) == "relate"
        return {"route": "relate" if relate else "retrieve"}
