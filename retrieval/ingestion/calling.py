"""Calls: a server tells worker processes which job has files to work on, through taskiq over a Redis stream.

A call is a hint and never the truth: workers look into the job table by themselves as well, so that one which is lost,
or comes twice, does no harm. The stream keeps the newest LIMIT calls only; without Redis nothing is kept at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from aegis import telemetry
from aegis.settings import RedisSettings

STREAM = "ingestion"  # under our prefix
TASK = "work"
LIMIT = 1000  # calls kept
BLOCK = 2000  # milliseconds that a read waits for a call
PAUSE = 5.0  # seconds between attempts at a Redis that is away

logger = logging.getLogger(__name__)


class Caller(Protocol):
    def call(self, job_id: str) -> None:
        """Tell a worker process, soon. Never waits, never fails."""
        ...


class TaskiqCaller:
    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._due = asyncio.Queue[str](LIMIT)

    def call(self, job_id: str) -> None:
        with suppress(asyncio.QueueFull):
            self._due.put_nowait(job_id)

    async def run(self) -> None:
        """For ever: send what is due."""
        from redis.exceptions import RedisError
        from taskiq.exceptions import TaskiqError

        while True:
            job_id = await self._due.get()
            try:
                await self._broker.find_task(TASK).kiq(job_id)
            except (RedisError, OSError, TaskiqError) as error:
                telemetry.BACKEND_FAILURES.labels(backend="redis").inc()
                logger.warning(
                    "Workers were not called; they find job %s by looking: %s", job_id, error.__cause__ or error
                )


@asynccontextmanager
async def open_caller(settings: RedisSettings) -> AsyncGenerator[TaskiqCaller]:
    """Connects with the first call: a Redis that is away keeps nobody from starting."""
    broker = _broker(settings, _nothing)
    caller = TaskiqCaller(broker)
    sending = asyncio.create_task(caller.run(), name="calls to workers")
    try:
        yield caller
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        await broker.shutdown()


async def answer(settings: RedisSettings, work: Callable[[str], Awaitable[None]], at_a_time: int) -> None:
    """For ever: do the work of each call, that many at a time. Tried again while Redis is away."""
    from redis.exceptions import RedisError

    while True:
        broker = _broker(settings, work)
        try:
            await _listen(broker, at_a_time)
        except* (RedisError, OSError) as errors:
            logger.warning("Redis does not answer; jobs are found by looking: %s", errors.exceptions[0])
        finally:
            with suppress(RedisError, OSError):
                await broker.shutdown()
        await asyncio.sleep(PAUSE)


async def _listen(broker: Any, at_a_time: int) -> None:
    """taskiq's own `run_receiver_task` would try again at once, for ever, with a traceback each time."""
    from concurrent.futures import ThreadPoolExecutor

    from taskiq.receiver import Receiver

    with ThreadPoolExecutor(1) as unused:  # the task is a coroutine
        receiver = Receiver(broker, executor=unused, run_startup=True, max_async_tasks=at_a_time)
        await receiver.listen(asyncio.Event())


def _broker(settings: RedisSettings, work: Callable[[str], Awaitable[None]]) -> Any:
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(
        settings.url.get_secret_value(),
        queue_name=f"{settings.prefix}{STREAM}",
        consumer_group_name=f"{settings.prefix}workers",
        consumer_id="0",  # calls from before the first worker count as well
        maxlen=LIMIT,
        unacknowledged_lock_timeout=10,
        xread_block=BLOCK,
        xread_count=1,  # a worker takes no call that another could answer now
        socket_connect_timeout=settings.timeout,
        socket_timeout=settings.timeout + BLOCK / 1000,  # a Redis that falls silent is no reason to wait for ever
        retry=Retry(NoBackoff(), 0),
    )

    async def called(job_id: str) -> None:
        await work(job_id)

    broker.register_task(called, task_name=TASK)
    return broker


async def _nothing(_job_id: str) -> None:
    """Those who call do not answer."""
