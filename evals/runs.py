"""A run: every case asked once, in bounded parallel; the turns of one conversation in their order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from aegis.errors import AegisError, InvalidInput
from evals.assistant import Answer, Assistant, Cited, Judge
from evals.cases import Case
from evals.metrics import EVALUATORS, Evaluator, Observation, score
from evals.report import Report, report_of

Seen = Callable[[Observation], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """`timeout` is seconds per case; a case that takes longer counts as failed, with the code `timeout`."""

    parallel: int = 2
    timeout: float = 180.0


async def run(
    cases: Sequence[Case],
    assistant: Assistant,
    *,
    pace: Pace = Pace(),
    evaluators: Sequence[Evaluator] = EVALUATORS,
    seen: Seen | None = None,
    judge: Judge | None = None,
) -> Report:
    """Ask all cases and measure them. `seen` is called after each, for a progress bar. Raises InvalidInput; Unavailable
    where `judge` is to grade the answers and no language model answers."""
    if not cases:
        raise InvalidInput("There are no cases to run. Name a case file, or ask something first and save it.")
    turns = asyncio.Semaphore(pace.parallel)
    found: dict[str, Observation] = {}

    async def together(group: Sequence[Case]) -> None:
        async with turns:
            await _conversation(group, assistant, pace.timeout, found, seen)

    if judge is not None:  # a run that cannot be judged ends before it has begun
        await judge.judge("Is the sky blue?", Answer("Yes, it is blue.", False), "Yes.")
    async with asyncio.TaskGroup() as tasks:
        for group in conversations(cases):
            tasks.create_task(together(group))
    observations = [found[case.id] for case in cases]
    if judge is not None:
        observations = [await judged(observation, judge, pace.timeout) for observation in observations]
    return report_of(observations, [score(each, evaluators) for each in observations])


def conversations(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases that belong to one conversation together; every other case alone."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        key = f"conversation {case.conversation}" if case.conversation else f"case {case.id}"
        groups.setdefault(key, []).append(case)
    return list(groups.values())


async def _conversation(
    group: Sequence[Case],
    assistant: Assistant,
    timeout: float,
    found: dict[str, Observation],
    seen: Seen | None,
) -> None:
    begun: str | None = None
    for case in group:
        observation = await observe(case, assistant, begun, timeout)
        if begun is None and observation.answer is not None:
            begun = observation.answer.conversation_id or None
        found[case.id] = observation
        if seen:
            seen(observation)
    if begun:
        with suppress(AegisError, TimeoutError):  # tidying up must not fail a run
            async with asyncio.timeout(timeout):
                await assistant.forget(begun)


async def observe(case: Case, assistant: Assistant, conversation_id: str | None, timeout: float) -> Observation:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout):
            answer = await assistant.ask(case.question, conversation_id)
            seconds = time.perf_counter() - started
            holds = await _checked(answer, assistant)
    except TimeoutError:
        return Observation(case, None, time.perf_counter() - started, error="timeout")
    except AegisError as error:
        return Observation(case, None, time.perf_counter() - started, error=error.code)
    return Observation(case, answer, seconds, holds)


async def judged(seen: Observation, judge: Judge, timeout: float) -> Observation:
    """With a verdict where there is an answer to grade, and the judge comes to one. It is one model on this machine, so
    it is asked one answer after another."""
    if seen.answer is None or seen.answer.abstained or seen.case.abstain:
        return seen
    reference = seen.case.saved.answer if seen.case.saved else ""
    try:
        async with asyncio.timeout(timeout):
            return replace(seen, verdict=await judge.judge(seen.case.question, seen.answer, reference))
    except (TimeoutError, AegisError):
        return seen


async def _checked(answer: Answer, assistant: Assistant) -> tuple[bool, ...]:
    """For each citation, whether its document says what it quotes."""
    texts: dict[tuple[str, str], str] = {}
    for cited in answer.citations:
        key = (cited.document_id, cited.version_id)
        if key not in texts:
            texts[key] = await _text(cited, assistant)
    return tuple(_holds(cited, texts[(cited.document_id, cited.version_id)]) for cited in answer.citations)


async def _text(cited: Cited, assistant: Assistant) -> str:
    """Empty when the document is gone: then no quote holds."""
    try:
        return await assistant.text(cited)
    except AegisError:
        return ""


def _holds(cited: Cited, text: str) -> bool:
    return 0 <= cited.start < cited.end <= len(text) and text[cited.start : cited.end] == cited.quote
