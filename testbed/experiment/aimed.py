"""``deployment/web``, ``pod/NAME``, ``node/NAME`` and labels as targets of a fault that is named in a word."""

from __future__ import annotations

from typing import Any, Literal

from testbed.api.resources import DEPLOYMENTS, PODS
from testbed.client.protocol import Client
from testbed.errors import InvalidInput, NotFound, UsageError
from testbed.experiment.inject import Whom, fault_object, named_fault

Json = dict[str, Any]
TargetKind = Literal["deployment", "pod", "node", "labels", ""]


def parse_target(text: str) -> tuple[TargetKind, str]:
    """``deployment/web``, ``pod/web-1``, ``node/node-2``, labels (``app=web``), or "" for a fault of the whole cluster.

    Raises: UsageError.
    """
    kind, slash, name = text.partition("/")
    if slash and name and kind in ("deployment", "pod", "node") and "=" not in kind:
        return kind, name  # type: ignore[return-value]  # it is one of them
    if "=" in text:
        return "labels", text
    if not text:
        return "", ""
    raise UsageError(f"{text!r} is no target", hint="deployment/web, pod/NAME, node/NAME, or labels: app=web")


async def aimed_fault(
    client: Client, fault: str, target: str, *, namespace: str = "default", duration: str = "20s", mode: str = "one",
    value: str = "", settings: tuple[str, ...] = (),
) -> Json:
    """The fault object that a short name and a target stand for. A fault of containers hits the first one of each pod.

    Raises: UsageError, InvalidInput (an unknown name, no such target, wrong settings), ApiError.
    """
    named_fault(fault)
    whom = await _whom(client, target, namespace, mode, value, containers=fault == "container-kill")
    return fault_object(fault, whom, duration=duration, settings=settings)


async def _whom(client: Client, target: str, namespace: str, mode: str, value: str, *, containers: bool) -> Whom:
    kind, name = parse_target(target)
    labels: dict[str, str] = {}
    pod_spec: Json = {}
    try:
        if kind == "deployment":
            spec = (await client.get(DEPLOYMENTS, name, namespace))["spec"]
            labels, pod_spec = dict(spec["selector"].get("matchLabels") or {}), spec["template"]["spec"]
        elif kind == "pod":
            pod_spec = (await client.get(PODS, name, namespace))["spec"]
    except NotFound:
        raise InvalidInput(f"there is no {kind} {name!r} in namespace {namespace!r}") from None
    if kind == "labels":
        labels = _labels(name)
        if containers:
            found = await client.list(PODS, namespace, label_selector=name)
            pod_spec = found.items[0]["spec"] if found.items else {}
    names = [str(pod_spec["containers"][0]["name"])] if containers and pod_spec.get("containers") else []
    return Whom(namespace, labels, (name,) if kind == "pod" else (), (name,) if kind == "node" else (),
                containers=names, mode=mode, value=value)


def _labels(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(key and equals for key, equals, _ in pairs):
        raise UsageError(f"{text!r} is not of the form key=value,...")
    return {key.strip(): value.strip() for key, _, value in pairs}
