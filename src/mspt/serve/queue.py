"""A bounded queue before a few threads: work waits, but never more of it than is allowed.

In:   functions to run, each for one photo.
Out:  their results; a ProblemError where too much waits already, or a photo takes too long.

A thread cannot be stopped: a photo that took too long keeps its thread until it is done, and the
thread is not given to anybody else before. Each thread has its next photo at hand: asking the event
loop for it would leave the thread idle while the loop waits for Python's lock.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Generic, TypeVar

from starlette.requests import ClientDisconnect

from mspt.serve.problems import PhotoProblemError, ProblemError, busy

T = TypeVar("T")
_RETRY_S = 1


class _Job(Generic[T]):
    """Work that knows how long it has been running."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work, self._begun = work, math.inf

    def __call__(self) -> T:
        self._begun = time.monotonic()
        return self._work()

    @property
    def seconds(self) -> float:
        """How long it has been running; 0 before it runs."""
        return max(0.0, time.monotonic() - self._begun)


class Queue:
    """What runs and what waits in one process."""

    def __init__(self, threads: int, max_waiting: int, max_per_client: int) -> None:
        """Begin with nothing to do."""
        self._threads, self._max_waiting, self._max_per_client = (
            threads,
            max_waiting,
            max_per_client,
        )
        self._clients: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="score")
        self._free = asyncio.Semaphore(2 * self._threads)  # those running and those at hand

    @property
    def requests(self) -> int:
        """How many requests are here, running or waiting."""
        return self._clients.total()

    @asynccontextmanager
    async def admit(self, client: str) -> AsyncIterator[None]:
        """Let a request in.

        Raises:
            ProblemError: 503 if too many wait, 429 if too many are this client's.
        """
        if self._clients[client] >= self._max_per_client:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._max_per_client} requests of yours are being worked on; wait for one",
                headers={"Retry-After": str(_RETRY_S)},
            )
        if self.requests >= self._threads + self._max_waiting:
            raise busy(_RETRY_S, f"{self.requests} requests are here already; ask again")
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    async def run(
        self, work: Callable[[], T], timeout_s: float, is_gone: Callable[[], Awaitable[bool]]
    ) -> T:
        """Run a function on a thread as soon as one is free, if somebody still waits for it.

        Raises:
            PhotoProblemError: 422 if it runs longer than `timeout_s`: asking again would not help.
            ClientDisconnect: if nobody waits any more.
        """
        await self._free.acquire()
        if await is_gone():
            self._free.release()
            raise ClientDisconnect
        job = _Job(work)
        future = asyncio.get_running_loop().run_in_executor(self._pool, job)
        future.add_done_callback(self._release)
        left = timeout_s
        while left > 0:
            await asyncio.wait({future}, timeout=left)
            if future.done():
                return future.result()
            left = timeout_s - job.seconds
        raise PhotoProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the photo took longer than {timeout_s:g} s to score; send a smaller one",
        )

    def _release(self, future: "asyncio.Future[T]") -> None:
        self._free.release()
        if not future.cancelled():
            future.exception()  # looked at: nobody may wait for it any more

    def close(self) -> None:
        """Let the threads end when their work is done; the application may be started once more."""
        self._pool.shutdown(wait=False)
        self._begin()
