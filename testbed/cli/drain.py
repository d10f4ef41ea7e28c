"""``testbed drain``, ``cordon``, ``uncordon``: a node is taken out of use through the eviction API, as kubectl does."""

from __future__ import annotations

import time
from typing import Any

import typer

from testbed.api.resources import DAEMON_SETS, NODES, PODS
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.errors import EnvironmentProblem, NotFound, TooManyRequests

app = typer.Typer()


def set_unschedulable(api: Api, node: str, value: bool) -> None:
    """Patches the node. Says nothing when it already is so."""
    current = api.json("GET", NODES.path(name=node))
    word = "cordoned" if value else "uncordoned"
    if bool(current["spec"].get("unschedulable")) == value:
        printing.out(f"node/{node} already {word}")
        return
    api.request("PATCH", NODES.path(name=node), body={"spec": {"unschedulable": value or None}},
                content_type="application/merge-patch+json")
    printing.out(f"node/{node} {word}")


@app.command()
def cordon(node: str, name: str = printing.Name) -> None:
    """Take a node out of scheduling."""
    set_unschedulable(connect(name), node, True)


@app.command()
def uncordon(node: str, name: str = printing.Name) -> None:
    """Take a node back into scheduling."""
    set_unschedulable(connect(name), node, False)


@app.command()
def drain(
    node: str,
    name: str = printing.Name,
    grace_period: int = typer.Option(-1, "--grace-period", help="Seconds; -1 is the pod's own."),
    timeout: str = typer.Option("0s", "--timeout", help="Give up after this; 0 waits for ever."),
    force: bool = typer.Option(False, "--force", help="Also pods that no controller would replace."),
) -> None:
    """Move all pods off a node, DaemonSets' apart: cordon it, then evict every pod, respecting disruption budgets."""
    api, limit_s = connect(name), printing.seconds(timeout)
    set_unschedulable(api, node, True)
    pods = api.json("GET", PODS.path(), query={"fieldSelector": f"spec.nodeName={node}"})["items"]
    daemons = [pod["metadata"]["name"] for pod in pods if _is_daemon(pod)]
    if daemons:  # a cordon keeps none away: their DaemonSet would make them anew at once
        printing.say(f"ignoring pods of DaemonSets: {', '.join(daemons)}")
        pods = [pod for pod in pods if not _is_daemon(pod)]
    alone = [pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("ownerReferences")]
    if alone and not force:
        raise EnvironmentProblem(f"pods without a controller would be lost: {', '.join(alone)}",
                                 hint="add --force to delete them")
    deadline = time.monotonic() + limit_s if limit_s else None
    for pod in pods:
        _evict(api, pod, grace_period, deadline)
    for pod in pods:
        _wait_gone(api, pod, deadline)
        printing.out(f"pod/{pod['metadata']['name']} evicted")
    printing.out(f"node/{node} drained")


def _is_daemon(pod: dict[str, Any]) -> bool:
    owners = pod["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner.get("kind") == DAEMON_SETS.kind for owner in owners)


def _evict(api: Api, pod: dict[str, Any], grace_s: int, deadline: float | None) -> None:
    metadata = pod["metadata"]
    body: dict[str, Any] = {"apiVersion": "policy/v1", "kind": "Eviction",
                            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]}}
    if grace_s >= 0:
        body["deleteOptions"] = {"gracePeriodSeconds": grace_s}
    while True:
        try:
            api.request("POST", PODS.path(metadata["namespace"], metadata["name"], "eviction"), body=body)
            return
        except NotFound:
            return
        except TooManyRequests as error:
            printing.say(f"pod/{metadata['name']}: {error.message}; trying again in 1 s")
            _pause(deadline, 1.0)


def _wait_gone(api: Api, pod: dict[str, Any], deadline: float | None) -> None:
    metadata = pod["metadata"]
    while True:
        try:
            current = api.json("GET", PODS.path(metadata["namespace"], metadata["name"]))
        except NotFound:
            return
        if current["metadata"]["uid"] != metadata["uid"]:
            return
        _pause(deadline, 0.2)


def _pause(deadline: float | None, pause_s: float) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise EnvironmentProblem("the node was not drained in the given time", hint="give it more: --timeout 5m")
    time.sleep(pause_s)
