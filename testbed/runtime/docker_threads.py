"""Threads that wait for a Docker engine, so that the event loop does not. The only threads of the product.

Decides how many calls may wait at once (one client per thread, a bounded number of threads), that every call ends by
a deadline, and what a failed call is called in our tree of errors. What is asked is not decided here.

Threads are daemons: a call that hangs must not keep a process from ending.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from testbed.errors import (
    EngineError,
    EngineUnavailable,
    NoSuchContainer,
    NoSuchImage,
    PermissionMissing,
    TestbedError,
)
from testbed.runtime.docker_client import APIError, DockerClient, DockerException

Result = TypeVar("Result")
Work = Callable[[DockerClient], Result]

#: Seconds that the loop waits beyond the socket's own deadline: then the answer is not awaited any more.
_SLACK_S = 0.5


class ClientThreads:
    """``connect`` makes one client; each thread makes its own (docker-py's client is not safe between threads)."""

    def __init__(self, connect: Callable[[], DockerClient], size: int = 8) -> None:
        self._connect = connect
        self._size = size
        self._waiting: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    async def call(self, work: Work[Result], *, timeout_s: float, again: bool = False) -> Result:
        """Runs ``work`` with a client whose every wait ends after ``timeout_s``. ``again``: harmless to repeat, and
        repeated when the connection breaks.

        Raises: EngineUnavailable, or the engine's refusal (EngineError or a kind of it).
        """
        call = _Call(work, timeout_s, again)
        if self._busy >= len(self._threads) < self._size:
            thread = threading.Thread(target=self._serve, name="docker", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._busy += 1
        self._waiting.put(call)
        try:
            result: Result = await asyncio.wait_for(asyncio.wrap_future(call.future), timeout_s + _SLACK_S)
        except TimeoutError:
            raise EngineUnavailable(f"the container engine did not answer within {timeout_s:g} s") from None
        finally:
            self._busy -= 1
        return result

    def _serve(self) -> None:
        client: DockerClient | None = None
        while call := self._waiting.get():
            if not call.future.set_running_or_notify_cancel():
                continue  # nobody waits for it any more: a late create would be one too many
            try:
                client = client or self._connect()
                client.timeout_s = call.timeout_s
                call.future.set_result(_run(call, client))
            except BaseException as error:
                call.future.set_exception(translated(error))
        if client is not None:
            client.close()

    def close(self) -> None:
        """Ends idle threads; one that hangs ends with its call."""
        for _ in self._threads:
            self._waiting.put(None)


class _Call:
    def __init__(self, work: Work[Any], timeout_s: float, again: bool) -> None:
        self.work = work
        self.timeout_s = timeout_s
        self.again = again
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()


def _run(call: _Call, client: DockerClient) -> Any:
    if not call.again:
        return call.work(client)
    attempts = Retrying(
        stop=stop_after_attempt(3), wait=wait_exponential(multiplier=0.02, max=0.2), reraise=True,
        retry=retry_if_exception(_connection_broke),
    )
    return attempts(call.work, client)


def _connection_broke(error: BaseException) -> bool:
    return isinstance(error, requests.exceptions.ConnectionError) and not isinstance(error, requests.exceptions.Timeout)


def translated(error: BaseException) -> TestbedError:
    """What an error of requests, urllib3 or docker-py means to us."""
    if isinstance(error, TestbedError):
        return error
    if isinstance(error, APIError):
        return _refusal(error)
    if isinstance(error, requests.exceptions.Timeout):
        return EngineUnavailable("the container engine did not answer in time")
    text = str(error)
    if "PermissionError" in text or "Permission denied" in text:
        return PermissionMissing("the container engine's socket may not be opened by this user",
                                 hint="join the group: sudo usermod -aG docker $USER, then log in again")
    if isinstance(error, requests.exceptions.RequestException | DockerException | OSError):
        return EngineUnavailable(f"the container engine cannot be reached: {_last_cause(text)}",
                                 hint="start it, or set DOCKER_HOST; testbed doctor says more")
    return EngineUnavailable(f"the container engine's answer was not understood: {type(error).__name__}: {text}")


def _refusal(error: APIError) -> TestbedError:
    text = str(error.explanation or error)
    lower = text.lower()
    if error.status_code == 404 and "no such image" in lower:
        return NoSuchImage(text, hint="testbed setup builds ours; testbed image load FILE brings in yours")
    if error.status_code == 404 and ("container" in lower or "exec instance" in lower):
        return NoSuchContainer(text)
    return EngineError(text)


def _last_cause(text: str) -> str:
    """requests wraps errors in errors; the innermost parenthesis says what happened."""
    inner = text.rsplit("(", 1)[-1].strip("()' ,")
    return re.sub(r"^\d+, '?", "", inner) or text  # an OSError comes as its number and its words
