"""The system under evaluation: what a run asks. `ApiAssistant` reaches it through the HTTP interface."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from aegis.errors import AegisError, InvalidInput, ModelFailed, NotFound, Unavailable
from evals.cases import PAGE, Case, Saved


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation as the answer carried it: `quote` claims to be characters [start, end) of the document's text."""

    document_id: str
    start: int
    end: int
    quote: str
    source: str = ""
    version_id: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a language model made of an answer: `grade` in [0, 1], None where it gave none."""

    grade: float | None
    says: str
    model: str


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    abstained: bool
    citations: tuple[Cited, ...] = ()
    conversation_id: str = ""
    route: str = ""
    model: str = ""


class Assistant(Protocol):
    """Raises AegisError; a run counts it against the case and goes on."""

    async def ask(self, question: str, conversation_id: str | None) -> Answer:
        """None begins a conversation."""
        ...

    async def text(self, cited: Cited) -> str:
        """The text of the document that the citation counts in."""
        ...

    async def forget(self, conversation_id: str) -> None:
        """Delete what asking left behind, so that evaluations do not fill people's history."""
        ...


class Judge(Protocol):
    async def judge(self, question: str, answer: Answer, reference: str) -> Verdict:
        """`reference` is what a saved answer said, or empty. Raises Unavailable where no language model answers."""
        ...


class ApiAssistant:
    """Asks `/api/v1/chat`. `client` has the server's address as its base."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, question: str, conversation_id: str | None) -> Answer:
        body: dict[str, Any] = {"question": question, "fresh": True}  # the code of now, not what it answered before
        if conversation_id:
            body["conversation_id"] = conversation_id
        return answer_of(await self._call("POST", "/api/v1/chat", json=body))

    async def text(self, cited: Cited) -> str:
        query = {"version": cited.version_id} if cited.version_id else None
        found = await self._call("GET", f"/api/v1/documents/{cited.document_id}/text", params=query)
        return str(found["text"]) if isinstance(found, Mapping) else str(found)

    async def judge(self, question: str, answer: Answer, reference: str) -> Verdict:
        evidence = list(dict.fromkeys(cited.quote for cited in answer.citations))
        body = {"question": question, "answer": answer.text, "evidence": evidence, "reference": reference}
        said = await self._call("POST", "/api/v1/models/judge", json=body)
        try:
            return Verdict(said["grade"], said["says"], said["model"])
        except (KeyError, TypeError) as error:
            raise ModelFailed(f"The verdict lacks {error}; is the server of another version?") from error

    async def forget(self, conversation_id: str) -> None:
        await self._call("DELETE", f"/api/v1/conversations/{conversation_id}")

    async def saved(self, *, limit: int = 1000) -> list[Case]:
        """Cases from saved conversations, as `evals.cases.snapshot` makes them: newest first, whole ones only."""
        cases: list[Case] = []
        async for identifier in self._pages("/api/v1/conversations", "conversations", "id"):
            path = f"/api/v1/conversations/{identifier}"
            fresh = [_case(turn) async for turn in self._pages(path, "turns") if turn["state"] == "done"]
            if len(cases) + len(fresh) > limit:
                return cases
            cases.extend(fresh)
        return cases

    async def _pages(self, path: str, items: str, key: str | None = None) -> AsyncGenerator[Any]:
        """Every item of a list that comes in pages; only its `key` when one is named."""
        params: dict[str, str | int] = {"limit": PAGE}
        while True:
            page = await self._call("GET", path, params=params)
            for item in page[items]:
                yield item[key] if key else item
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        """The reply's JSON, or its text where it is none."""
        try:
            response = await self._client.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Unavailable(f"{method} {path}: the server does not answer ({error!r}).") from error
        if not response.is_success:
            raise _refusal(method, path, response)
        is_json = response.headers.get("content-type", "").startswith("application/json")
        if not is_json or not response.content:
            return response.text
        try:
            return response.json()
        except ValueError as error:
            raise ModelFailed(
                f"{method} {path} was answered with what is not JSON: {response.text[:100]!r}."
            ) from error


def answer_of(reply: Mapping[str, Any]) -> Answer:
    """From the JSON of `/api/v1/chat`. Raises ModelFailed when it is not of the documented shape."""
    try:
        cited = tuple(
            Cited(
                document_id=each["document_id"],
                start=each["start"],
                end=each["end"],
                quote=each["quote"],
                source=each.get("source") or "",
                version_id=each.get("version_id") or "",
            )
            for each in reply["citations"]
        )
        return Answer(
            text=reply["answer"],
            abstained=reply["abstained"],
            citations=cited,
            conversation_id=reply["conversation_id"],
            route=reply.get("route") or "",
            model=reply.get("model") or "",
        )
    except (KeyError, TypeError) as error:
        raise ModelFailed(f"The reply of the chat lacks {error}; is the server of another version?") from error


def _case(turn: Mapping[str, Any]) -> Case:
    """From one turn of `/api/v1/conversations/{id}`."""
    documents = frozenset(str(each["document_id"]) for each in turn["citations"])
    return Case(
        id=turn["turn_id"],
        question=turn["question"],
        abstain=turn["abstained"],
        conversation=turn["conversation_id"],
        saved=Saved(answer=turn["answer"], documents=documents),
    )


def _refusal(method: str, path: str, response: httpx.Response) -> AegisError:
    kind: type[AegisError] = InvalidInput
    if response.status_code == 404:
        kind = NotFound
    elif response.status_code >= 500:
        kind = Unavailable
    return kind(f"{method} {path} was answered with status {response.status_code}: {response.text[:300]}")
