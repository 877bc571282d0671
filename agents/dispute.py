# ruff: noqa: E501 - a pattern is easier to check on one line
"""An answer called wrong: which facts it rested on, so that whoever says so can put them right.

Only a message that says so and asks nothing is one (`disputes`); saying it changes nothing by itself. Which facts those
are: what the answer used of the graph memory, and what the passages it cited state at the places cited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.scope import Scope
from agents.state import Context, FactUsed, State, token
from memory.conversations import SAID, Citation, Turn
from memory.facts import Evidence, Fact

LONGEST = 300  # characters; what is longer says more than that something is wrong
MOST = 10  # facts shown
_TALK = ("converse", "dispute")  # answers that rest on nothing

_LEAD = r"(?:(?:no|nope|nah|hm+|well|sorry|but|wait|ok|okay|actually|unfortunately|hey|i'm afraid|i am afraid|nein|nee|ne|aber|doch|halt|moment|leider|non|mais|désolé|désolée|pero|lo siento|ma|però)[ ,.!;:–—-]+)*"
_THINK = r"(?:(?:i|we)(?:'m| am| are|'re)? (?:really |rather )?(?:think|believe|fear|guess|suppose|know|sure|certain|afraid)(?: that)? |ich (?:glaube|denke|fürchte|finde|meine|weiß),? (?:dass )?|je (?:crois|pense) que |creo que |credo che |penso che )?"
# What follows the verdict: nothing, punctuation, a reason. "Wrong with the pump", "wrong to copy" are no verdicts.
_END = r"(?=\W*$|[.,;:!)–—-]| (?:because|since|as|about|here|there|at all|any ?more|any longer|i think|i believe|i'm afraid|though|actually|sorry|again|and (?!how|what|why|where|who|when)|but|weil|denn|da|sondern|und (?!wie|was|warum|wo|wer|wann)|aber|mehr|parce que|car|porque|perché)\b)"

_NOUN = r"(?:answer|reply|response|statement|information|info|facts?|date|year|name|number|figure|amount|price|city|sentence|claim|quote|citation)s?"
_IT = rf"(?:that|this|it|these|those|they|(?:the|your|that|this|these|those) (?:last |previous |first |second |whole )?{_NOUN}(?: above| there| (?:that )?you (?:gave|named|told|mentioned)(?: me)?)?|what you (?:just )?(?:said|say|wrote|told me|answered|claim)|you|(?:all|some|one|half|part) of (?:that|this|it|these|your answer|these facts|the facts))"
_HOW = r"(?: (?:just|simply|completely|totally|entirely|plain|clearly|obviously|definitely|actually|quite|really|all|so|partly|partially|still|also|absolutely|factually|rather|a bit|slightly|probably|certainly))*"
_WRONG = r"(?:wrong|incorrect|false|untrue|inaccurate|mistaken|a mistake|an error|in error|a lie|nonsense|outdated|out of date|no longer (?:true|correct|right|valid))"
_RIGHT = r"(?:right|correct|true|accurate|the case)"
_NOT_MINE = r"(?:(?:my|our|his|her|their) [\w' ]{2,30}|what (?:(?:the|my|our|his|her|their) [\w' ]{2,60}|i (?:said|told you|wrote)))"
_ENGLISH = (
    rf"{_IT}(?:'s|'re| is| are| was| were| looks| look| sounds| seems(?: to be)?){_HOW} {_WRONG}",
    rf"{_IT}(?:(?:'s|'re| is| are| was| were){_HOW} not| isn't| aren't| wasn't| weren't| can't be| cannot be| can not be| doesn't (?:seem|look|sound)| does not (?:seem|look|sound)| don't (?:seem|look|sound)){_HOW}(?: quite| at all| even| entirely| exactly)*(?: any ?more)? (?:{_RIGHT}|{_NOT_MINE})",
    rf"(?:completely |totally |simply |just |all |still |plain |partly )?{_WRONG}(?: answer| again| date| year| name| number| person| city)?(?=\W*$|[.,;!–—])",
    rf"(?:quite |simply |just )?not (?:quite |at all |entirely )?{_RIGHT}(?=\W*$|[.,;!–—])",
    r"you(?:'ve| have)? (?:got|have|had|made) (?:(?:that|this|it|something|the \w+) wrong|an? (?:mistake|error))",
    r"there(?:'s| is| must be) (?:an? (?:mistake|error)|something wrong) in (?:that|this|your|the) (?:last )?(?:answer|reply|response)",
    r"i (?:disagree|don't agree|do not agree)(?: with (?:that|this|it|you|your answer|the answer))?",
    r"i (?:never|didn't|did not) (?:say|said|tell you|told you) (?:that|this|so|it)",
    rf"i (?:don't|do not) (?:think|believe) (?:that |so, )?(?:that|this|it|the answer)(?:'s| is| are) {_RIGHT}",
)
_ES = r"(?:das|dies|es|diese[rs]?|alles|da|(?:die|deine|ihre|eure|diese|der|dein|ihr|das|dieses|dieser) (?:letzte |vorige )?(?:antworten|antwort|aussagen|aussage|angaben|angabe|information|informationen|fakt|fakten|zahlen|zahl|jahr|datum|name|jahreszahl|ort|preis|betrag|auskunft)|was (?:du|sie) (?:gesagt|geschrieben|geantwortet) (?:hast|haben),?)"
_SO = r"(?: (?:so|aber|doch|leider|einfach|überhaupt|gar|ja|ganz|wohl|hier|auch|völlig|komplett|total|teilweise|mittlerweile|inzwischen|jetzt))*"
_GERMAN = (
    rf"(?:{_ES} )?(?:stimmt|stimmen|stimmte){_SO} nicht(?: mehr| so| ganz| wirklich)*",
    rf"{_ES} (?:ist|sind|war|waren){_SO} (?:falsch|verkehrt|unrichtig|unwahr|inkorrekt|fehlerhaft|veraltet|überholt|gelogen|ein fehler|ein irrtum|quatsch|unsinn|nicht{_SO}(?: mehr| wirklich)* (?:richtig|korrekt|wahr|der fall|aktuell))",
    rf"{_ES} trifft{_SO} nicht (?:mehr )?zu",
    r"(?:völlig |einfach |leider |komplett )?(?:falsch|nicht (?:ganz |mehr )?(?:richtig|wahr|korrekt)|falsche antwort)(?=\W*$|[.,;!–—])",
    r"(?:da )?(?:(?:du irrst|du täuschst|irrst du|täuschst du) dich|(?:sie irren|irren sie|sie täuschen|täuschen sie) sich)",
    r"(?:da )?(?:du liegst|liegst du|sie liegen|liegen sie)(?: da| hier| leider)* falsch",
    r"das (?:habe?|hab) ich (?:so |doch |gar |auch )*(?:nie|niemals|nicht)(?: so)? (?:gesagt|geschrieben)",
    r"ich (?:glaube|denke) nicht,? dass (?:das|es|die antwort) (?:so )?(?:stimmt|richtig ist|wahr ist)",
    r"da ist ein fehler in (?:deiner|der|ihrer) antwort",
)
_FRENCH = (
    r"(?:c'est|ceci est|cela est|(?:la|ta|votre|cette) réponse est)(?: (?:tout à fait|complètement|simplement|malheureusement))* (?:faux|fausse|incorrecte?|inexacte?|erronée?|une erreur|pas (?:vrai|exact|correct|correcte|juste))",
    r"(?:ce|cela|ça) n'est (?:pas|plus) (?:vrai|exact|correct|juste|le cas)",
    r"(?:tu te trompes|vous vous trompez|tu as tort|vous avez tort|faux|pas vrai)",
)
_SPANISH = (
    r"(?:(?:eso|esto|(?:la|tu|su|esa) respuesta) )?(?:ya )?no es (?:cierto|cierta|correcto|correcta|verdad|así)",
    r"(?:(?:eso|esto|(?:la|tu|su|esa) respuesta) )?(?:es (?:falso|falsa|incorrecto|incorrecta|erróneo|errónea|un error)|está (?:mal|equivocado|equivocada))",
    r"(?:te equivocas|se equivoca|estás equivocado|está equivocado|falso|incorrecto)",
)
_ITALIAN = (
    r"(?:(?:questo|ciò|(?:la|questa) (?:tua |sua )?risposta) )?(?:è (?:sbagliato|sbagliata|falso|falsa|errato|errata|un errore)|non è (?:più )?(?:vero|vera|corretto|corretta|giusto|giusta))",
    r"(?:ti sbagli|si sbaglia|hai torto|sbagliato)",
)
_VERDICTS = "|".join(f"(?:{each})" for each in (*_ENGLISH, *_GERMAN, *_FRENCH, *_SPANISH, *_ITALIAN))
_DISPUTE = re.compile(rf"{_LEAD}{_THINK}(?:{_VERDICTS}){_END}")

NONE_YET = "There is no answer in this conversation yet that could be wrong. Ask something first."
_NO_FACTS = (
    "My answer to “{asked}” rested on no fact of the memory{cited}. Nothing has been changed. What a document says wrongly is "
    "put right in the document; ask again in other words, or give the answer a thumb down with a comment, which is kept."
)
_OFFER = (
    "Nothing has been changed. Say below of each fact whether it is right, what is right instead, or that it is wrong: a fact "
    "that is corrected or forgotten is not learnt again from the same words."
)


class Recent(Protocol):
    async def recent(self, scope: Scope, conversation_id: str) -> Sequence[Turn]: ...


class Used(Protocol):
    """What is needed of `memory.facts.store.FactStore`."""

    async def facts(self, scope: Scope, ids: Sequence[str]) -> Sequence[Fact]: ...

    async def stated_at(self, scope: Scope, places: Sequence[tuple[str, int, int]]) -> Sequence[Fact]: ...


def disputes(message: str) -> bool:
    """Whether a message says that what was answered is wrong, and asks nothing."""
    if len(message) > LONGEST or "?" in message or "？" in message:
        return False
    text = " ".join(message.lower().replace("’", "'").split())
    return bool(_DISPUTE.match(text.lstrip("\"'“„*_-–—.! ")))


@dataclass(frozen=True)
class Dispute:
    """Sets `facts` and `answer`. Changes no fact."""

    conversations: Recent
    facts: Used

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        turn = await self._meant(context)
        found = [] if turn is None else await self._rested_on(context.scope, turn)
        answer = NONE_YET if turn is None else told(turn, found)
        runtime.stream_writer(token(answer))
        return {"answer": answer, "abstained": False, "citations": [], "facts": [_used(fact) for fact in found]}

    async def _meant(self, context: Context) -> Turn | None:
        """The newest turn that was answered with something that can be wrong."""
        turns = await self.conversations.recent(context.scope, context.conversation_id)
        return next((turn for turn in reversed(turns) if _can_be_wrong(turn, context.turn_id)), None)

    async def _rested_on(self, scope: Scope, turn: Turn) -> list[Fact]:
        """Those used and cited first, then those cited, then those used only; of what is not there any more, none."""
        used = {fact.id: fact for fact in await self.facts.facts(scope, turn.fact_ids)}
        places = [(cited.chunk_id, cited.start, cited.end) for cited in turn.citations]
        cited = {fact.id: fact for fact in await self.facts.stated_at(scope, places)}
        both = [fact for fact in used.values() if fact.id in cited]
        ordered = {fact.id: fact for fact in (*both, *cited.values(), *used.values())}
        return list(ordered.values())[:MOST]


def told(turn: Turn, found: Sequence[Fact]) -> str:
    asked, titles = turn.standalone or turn.question, _titles(turn.citations)
    if not found:
        named = ", ".join(dict.fromkeys(titles.values()))
        return _NO_FACTS.format(asked=asked, cited=f"; it quotes {named}" if named else "")
    lines = "\n".join(f"- “{fact.text}”{_whence(fact, titles)}" for fact in found)
    return f"My answer to “{asked}” rested on:\n{lines}\n\n{_OFFER}"


def _can_be_wrong(turn: Turn, this: str) -> bool:
    return turn.id != this and turn.state in SAID and turn.route not in _TALK


def _titles(citations: Sequence[Citation]) -> dict[str, str]:
    return {cited.chunk_id: cited.title for cited in citations}


def _whence(fact: Fact, titles: Mapping[str, str]) -> str:
    if fact.memory == "conversations":
        said = _said(fact.evidence)
        return f" (you said so{f' on {said[:10]}' if said else ''})"
    title = next((titles[proof.chunk_id] for proof in fact.evidence if proof.chunk_id in titles), "")
    return f" ({title})" if title else ""


def _said(evidence: Sequence[Evidence]) -> str:
    dated = [proof.dated for proof in evidence if proof.dated is not None]
    return max(dated).isoformat() if dated else ""


def _used(fact: Fact) -> FactUsed:
    chunk = fact.evidence[0].chunk_id if fact.evidence else ""
    used = FactUsed(fact_id=fact.id, text=fact.text, chunk_id=chunk, score=1.0, memory=fact.memory)
    return {**used, "said": _said(fact.evidence)} if fact.memory == "conversations" else used
