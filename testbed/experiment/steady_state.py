"""Steady-state conditions: does the system do, right now, what its users expect?

Each kind is one small coroutine that answers (met, why). They are asked from this machine, as a client would; what a
"no" means is for the phases to decide.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from testbed.api.meta import LabelSelector
from testbed.api.resources import DEPLOYMENTS, PODS
from testbed.errors import ApiError, NotFound
from testbed.experiment.kind_steady import (
    Condition,
    HttpCondition,
    JsonCondition,
    LogCondition,
    ProbeCondition,
    PromqlCondition,
    ReadyCondition,
    TcpCondition,
)
from testbed.experiment.objectives import COMPARISONS
from testbed.experiment.platforms.protocol import Platform
from testbed.experiment.platforms.services import why_not_reached
from testbed.experiment.result import SteadyStateResult
from testbed.experiment.sightings import deployment_seen
from testbed.experiment.targets import find_target

Answer = tuple[bool, str]
POLL_S = 0.2
TIMES = 2  # a condition must hold this often in a row


def say(condition: Condition) -> str:
    """A condition in one line."""
    body: Any = getattr(condition, "json_" if condition.kind == "json" else condition.kind)
    if isinstance(body, HttpCondition):
        return f"GET {body.service or body.ingress}{body.path} answers {body.status}"
    if isinstance(body, TcpCondition):
        return f"{body.service} accepts connections"
    if isinstance(body, ReadyCondition):
        return f"deployment {body.deployment} is complete and ready"
    if isinstance(body, PromqlCondition):
        return f"{body.query} {body.expect}"
    if isinstance(body, JsonCondition):
        return f"{body.service or body.ingress}{body.path}: {body.at} is {body.equals!r}"
    if isinstance(body, LogCondition):
        return f"log of {body.deployment} " + (f"has {body.contains!r}" if body.contains else f"lacks {body.absent!r}")
    return f"probe {body.kind} of {body.deployment} succeeds"


class SteadyState:
    """Asks conditions of one platform and namespace."""

    def __init__(self, platform: Platform, namespace: str) -> None:
        self._platform, self._namespace = platform, namespace

    async def ask(self, condition: Condition) -> Answer:
        """(met, why). A condition that cannot be asked now is not met. Raises: InvalidInput when it never can be."""
        kinds: dict[str, Callable[[Any], Awaitable[Answer]]] = {
            "http": self._http, "tcp": self._tcp, "ready": self._ready, "promql": self._promql, "json": self._json,
            "log": self._log, "probe": self._probe,
        }
        body = getattr(condition, "json_" if condition.kind == "json" else condition.kind)
        try:
            return await kinds[condition.kind](body)
        except ApiError as error:
            return False, error.message

    async def hold(self, condition: Condition, when: str, now: Callable[[], float]) -> SteadyStateResult:
        """Asks until it holds ``TIMES`` in a row, or its ``within`` is over. ``now``: seconds of the run."""
        began = now()
        times, message = 0, ""
        while times < TIMES:
            met, message = await self.ask(condition)
            times = times + 1 if met else 0
            if times < TIMES:
                if now() - began > condition.within:
                    break
                await asyncio.sleep(POLL_S)
        return SteadyStateResult.model_validate({
            "when": when, "what": say(condition), "met": times >= TIMES, "atS": round(now(), 3),
            "waitedS": round(now() - began, 3), "message": message})

    # --- over the network

    async def _ask_target(self, body: HttpCondition | JsonCondition) -> tuple[int, str] | str:
        target = await find_target(self._platform, self._namespace, body)
        return await self._platform.http_get(f"http://{target.address}{body.path}", target.headers, body.timeout)

    async def _http(self, body: HttpCondition) -> Answer:
        answer = await self._ask_target(body)
        if isinstance(answer, str):
            return False, answer
        status, text = answer
        if status != body.status:
            return False, f"answered {status}"
        if body.body and body.body not in text:
            return False, f"the answer does not contain {body.body!r}"
        return True, f"answered {status}"

    async def _tcp(self, body: TcpCondition) -> Answer:
        host, _, port = (await self._platform.address(self._namespace, body.service, body.port)).rpartition(":")
        problem = await why_not_reached(host, int(port), body.timeout)
        return not problem, problem or "accepted"

    async def _json(self, body: JsonCondition) -> Answer:
        answer = await self._ask_target(body)
        if isinstance(answer, str):
            return False, answer
        try:
            found = pick(json.loads(answer[1]), body.at)
        except (ValueError, LookupError, TypeError) as error:
            return False, f"nothing at {body.at}: {error}"
        return found == body.equals, f"{body.at} is {found!r}"

    async def _promql(self, body: PromqlCondition) -> Answer:
        from urllib.parse import urlencode

        url = f"{body.url.rstrip('/')}/api/v1/query?{urlencode({'query': body.query})}"
        answer = await self._platform.http_get(url, {}, body.timeout)
        if isinstance(answer, str):
            return False, answer
        try:
            value = json.loads(answer[1])
            result = value["data"]["result"]
            samples = [result[1]] if value["data"]["resultType"] == "scalar" else [item["value"][1] for item in result]
            numbers = [float(sample) for sample in samples]
        except (ValueError, LookupError, TypeError):
            return False, f"Prometheus answered {answer[0]}: {answer[1][:200]}"
        if not numbers:
            return False, "the query has no result"
        sign, limit = re.match(r"\s*(<=|>=|==|!=|<|>)\s*(\S+)", body.expect).groups()  # type: ignore[union-attr]
        met = all(COMPARISONS[sign](number, float(limit)) for number in numbers)
        return met, f"is {', '.join(map(str, numbers[:5]))}"

    # --- through the API

    async def _ready(self, body: ReadyCondition) -> Answer:
        try:
            found = deployment_seen(0.0, await self._platform.client.get(DEPLOYMENTS, body.deployment, self._namespace))
        except NotFound:
            return False, f"there is no Deployment {body.deployment!r}"
        told = f"{found.ready} of {found.desired} ready, {found.updated} up to date"
        return found.complete, told if found.complete else told + await self._why_not(body.deployment)

    async def _why_not(self, deployment: str) -> str:
        """What the containers that do not run wait for: an image that is not there is told by its name."""
        reasons: dict[str, None] = {}
        for pod in await self._pods(deployment):
            for container in (pod.get("status") or {}).get("containerStatuses") or ():
                waiting = (container.get("state") or {}).get("waiting") or {}
                if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                    reasons[f"{waiting['reason']}: {waiting.get('message') or container['image']}"] = None
        return "".join(f"; {reason}" for reason in list(reasons)[:3])

    async def _pods(self, deployment: str) -> list[dict[str, Any]]:
        found = await self._platform.client.get(DEPLOYMENTS, deployment, self._namespace)
        selector = LabelSelector.of(found["spec"].get("selector") or {})
        pods = (await self._platform.client.list(PODS, self._namespace)).items
        return [pod for pod in pods if selector.matches(pod["metadata"].get("labels") or {})
                and not pod["metadata"].get("deletionTimestamp")]

    async def _log(self, body: LogCondition) -> Answer:
        pods = await self._pods(body.deployment)
        for pod in pods:
            name = pod["metadata"]["name"]
            text = await self._platform.logs(self._namespace, name, body.lines)
            if body.contains and body.contains not in text:
                return False, f"the log of {name} does not contain it"
            if body.absent and body.absent in text:
                return False, f"the log of {name} contains it"
        return bool(pods), f"looked at {len(pods)} pods"

    async def _probe(self, body: ProbeCondition) -> Answer:
        from probes.protocol import Outcome, ProbeTarget
        from probes.registry import probe_kind

        kind = probe_kind(body.kind)
        pods = await self._pods(body.deployment)
        for pod in pods:
            target = ProbeTarget(address=str((pod.get("status") or {}).get("podIP") or ""))
            sample = await kind.sample({"port": body.port, **body.action}, target, body.timeout)
            if sample.outcome not in (Outcome.SUCCESS, Outcome.WARNING):
                return False, f"{pod['metadata']['name']}: {sample.message or sample.outcome.value}"
        return bool(pods), f"{len(pods)} pods succeeded"


def pick(value: Any, path: str) -> Any:
    """The value at ``status.items[0].name``. Raises: LookupError, TypeError."""
    for part in re.findall(r"[^.\[\]]+", path):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
