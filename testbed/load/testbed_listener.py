# mypy: disable-error-code="import-untyped, untyped-decorator"
"""Our part inside Locust's own process, loaded as a locustfile beside the user's: streams every request out, unrounded.

Never import this elsewhere: it imports locust, which patches the whole process. Lines, tab-separated:
``at_ns, response_ms, ok or the error's name, length, method, name``; ``#`` lines hold JSON, once a second.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from typing import Any

import gevent
from locust import events

_PR_SET_PDEATHSIG = 1  # linux: prctl(2); whoever started us may be killed, and the load must end then
ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

_samples = open(os.environ["TESTBED_LOCUST_SAMPLES"], "a", buffering=1, encoding="utf-8")  # noqa: SIM115, PTH123


def _clean(text: object, limit: int) -> str:
    return " ".join(str(text).split())[:limit]


@events.request.add_listener
def _request(
    request_type: str, name: str, response_time: float, response_length: int, exception: object = None, **_: Any
) -> None:
    outcome = "ok" if exception is None else _clean(type(exception).__name__, 80)
    _samples.write(f"{time.monotonic_ns()}\t{response_time:.3f}\t{outcome}\t{response_length or 0}\t"
                   f"{_clean(request_type, 20)}\t{_clean(name, 200)}\n")


@events.init.add_listener
def _init(environment: Any, **_: Any) -> None:
    def count_users() -> None:
        while True:
            users = environment.runner.user_count if environment.runner else 0
            _samples.write("#" + json.dumps({"at_ns": time.monotonic_ns(), "users": users}) + "\n")
            gevent.sleep(1)

    gevent.spawn(count_users)
