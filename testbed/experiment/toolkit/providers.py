"""Runs what an activity provides: a process, a request or a function; within a time, whatever it does."""

from __future__ import annotations

import asyncio
from typing import Any

from testbed.experiment.toolkit import processes, python, web
from testbed.experiment.toolkit.failures import ActivityFailed
from testbed.experiment.toolkit.substitution import Scope
from testbed.experiment.toolkit.threads import Left, in_thread

Json = dict[str, Any]


async def provide(provider: Json, scope: Scope, limit_s: float, **more: Any) -> Any:
    """The output of a provider. ``more``: arguments that are no part of the file (the value that a tolerance judges).

    Raises: ActivityFailed when there is none, also when it takes longer than its ``timeout`` or, without one, than
    ``limit_s``. A function or request that takes longer is left to itself: it ends with this process.
    """
    filled = {**provider, **{key: scope.fill(provider[key]) for key in provider if key not in ("type", "secrets")}}
    if more:
        filled["arguments"] = {**(filled.get("arguments") or {}), **more}
    if filled["type"] == "process":
        return await processes.run_process(filled, limit_s)
    if filled["type"] == "http":
        return await _limited(lambda: web.send(filled), limit_s)
    timeout = filled.get("timeout")
    return await _limited(lambda: python.call(filled, scope), float(timeout) if timeout is not None else limit_s)


async def _limited(call: Any, seconds: float) -> Any:
    try:
        return await asyncio.wait_for(in_thread(call), seconds)
    except TimeoutError:
        raise ActivityFailed(f"took longer than {seconds:g} s") from None
    except Left as error:
        raise ActivityFailed(f"tried to end the process: {error}") from error


def no_success(provider_type: str, output: Any) -> str:
    """Why the answer to an *action* says that nothing was done; "" where it does not. Only a process and a request
    tell: by their exit status and their HTTP status."""
    if not isinstance(output, dict) or not isinstance(output.get("status"), int):
        return ""
    status = output["status"]
    if provider_type == "process" and status != 0:
        said = str(output.get("stderr") or "").strip().splitlines()
        return f"exit status {status}" + (f": {said[-1][:200]}" if said else "")
    if provider_type == "http" and status >= 400:
        return f"HTTP status {status}"
    return ""
