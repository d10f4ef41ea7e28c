"""``testbed inject``: one fault now; with ``--watch`` its recovery timeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from testbed.cli import output as printing
from testbed.errors import ApiUnavailable, UsageError

if TYPE_CHECKING:
    from testbed.api.resources import ResourceType
    from testbed.cli.connection import Api

app = typer.Typer()


@app.command(epilog="What there is: testbed faults. What a fault may be given: testbed faults show NAME.")
def inject(
    fault: str = typer.Argument("", metavar="[FAULT]", help="container-kill, network-delay, node-kill ..."),
    file: Path = typer.Option(None, "-f", "--filename", help="A fault object instead."),
    selector: str = typer.Option("", "-l", "--selector", help="Whom: labels, e.g. app=web."),
    pod: list[str] = typer.Option([], "--pod", help="Whom: a pod by name."),
    node: list[str] = typer.Option([], "--node", help="Whom: a node by name, or the pods on it."),
    zone: str = typer.Option("", "--zone", help="Whom: nodes of a zone, or the pods on them."),
    mode: str = typer.Option("one", "--mode", help="one, all, fixed, fixed-percent, random-max-percent."),
    value: str = typer.Option("", "--value", help="Number or percentage of the mode."),
    container: list[str] = typer.Option([], "-c", "--container", help="Only these containers."),
    settings: list[str] = typer.Option([], "--set", metavar="PATH=VALUE", help="A field of the fault's own, e.g. "
                                       "delay.latency=100ms; without any, those of its example."),
    duration: str = typer.Option("20s", "--for", help="How long it is held."),
    max_pods: str = typer.Option("", "--max-pods", help="How much of a workload may be hit; default 50%."),
    max_nodes: str = typer.Option("", "--max-nodes", help="How many nodes may be hit; default 1."),
    seed: str = typer.Option("", "--seed", help="Draws the same targets again."),
    follow: bool = typer.Option(False, "--follow", help="Also hit what takes a target's place."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print whom it would hit; touch nothing."),
    watch: bool = typer.Option(False, "--watch", "-w", help="Wait until all is well again and print the timeline."),
    timeout: str = typer.Option("60s", "--timeout", help="With --watch: how long to wait for that."),
    output: str = printing.Output,
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> int:
    """Inject one fault now.

    \b
    testbed inject container-kill -l app=web
    testbed inject node-kill -l app=web --for 20s --watch
    testbed inject network-delay -l app=web --set delay.latency=100ms
    testbed inject freeze -l app=web --mode all --max-pods 100% --dry-run
    testbed inject network-loss -l app=web --set loss.loss=20 --follow
    testbed inject -f chaos-mesh-file.yaml
    """
    from testbed.experiment.inject import Whom, annotate, fault_object, injection, read_fault

    if bool(fault) == bool(file):
        raise UsageError("name a fault, or give -f FILE", hint="testbed inject container-kill -l app=web")
    if fault == "container-kill" and not container:
        container = containers_of(name, namespace, selector, pod)
    whom = Whom(namespace, labels_of(selector), pod, node, zone, container, mode, value)
    obj = read_fault(file) if file else fault_object(fault, whom, duration=duration, settings=settings)
    annotate(obj, max_pods=max_pods, max_nodes=max_nodes, seed=seed, follow=follow)
    loaded = injection(obj, namespace=namespace, watch_s=printing.seconds(timeout), step=fault)
    if dry_run:
        from testbed.cli.dry_run import look

        return look(obj, fault or obj["kind"].lower(), name, namespace, output)
    if not watch:
        return _create(obj, fault or obj["kind"].lower(), name, namespace)
    import asyncio

    from testbed.api.instance_files import instance_directory, load_instance
    from testbed.cli.finish import finish
    from testbed.cli.platforms import own_cluster
    from testbed.experiment.runner import ExperimentRun
    from testbed.experiment.variants import alone

    load_instance(instance_directory(name))  # an injection needs a cluster with something in it
    job = ExperimentRun(alone(loaded), own_cluster(name, printing.say), instance_directory(name) / "runs", printing.say,
                        keep=True, command="inject")
    result = asyncio.run(job.run_alone())
    return finish(result, job.folder, output=output)


def labels_of(text: str) -> dict[str, str]:
    """``app=web,tier=front``. Raises: UsageError."""
    pairs = [part.split("=", 1) for part in text.split(",") if part]
    if any(len(pair) != 2 for pair in pairs):
        raise UsageError(f"-l {text!r} is not of the form key=value,...")
    return {key.strip(): value.strip() for key, value in pairs}


def containers_of(name: str, namespace: str, selector: str, pods: list[str]) -> list[str]:
    """The first container of the pods that are meant: what a person means who names none."""
    from testbed.api.resources import PODS
    from testbed.cli.connection import connect

    listed = connect(name).json("GET", PODS.path(namespace), query={"labelSelector": selector} if selector else None)
    meant = [item for item in listed["items"] if not pods or item["metadata"]["name"] in pods]
    return sorted({str(item["spec"]["containers"][0]["name"]) for item in meant})


def _create(obj: dict[str, Any], word: str, name: str, namespace: str) -> int:
    api, resource, scope = create(obj, word, name, namespace)
    fault = obj["metadata"]["name"]
    printing.out(f"{resource.kind.lower()}.{resource.group}/{fault} created")
    try:
        return _told(api, resource, scope, fault)
    except ApiUnavailable:
        if resource.kind != "ControlPlaneChaos":
            raise
        printing.say("the API does not answer any more, which is what this fault is for; its status will tell when it "
                     "is back\n  take it back: testbed faults undo --all")
        return 0


def create(obj: dict[str, Any], word: str, name: str, namespace: str) -> tuple[Api, ResourceType, str]:
    """Creates the object, named after ``word`` where it has no name. Returns where it lives. Raises: ApiError."""
    import secrets

    from testbed.cli.connection import connect

    api = connect(name)
    resource = api.resource_of(obj)
    metadata = obj["metadata"]
    metadata.setdefault("name", f"{word}-{secrets.token_hex(2)}")
    scope = metadata.setdefault("namespace", namespace)
    api.request("POST", resource.path(scope), body=obj, query={"fieldValidation": "Strict"})
    return api, resource, scope


ANSWER_S = 10.0
FAULT_WITHOUT_EFFECT = 6


def answered(api: Api, resource: ResourceType, scope: str, fault: str) -> Iterator[dict[str, Any]]:
    """The object's status, again and again, until it is asked no more or the chaos daemon's time to answer is over."""
    import time

    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        yield api.json("GET", resource.path(scope, fault)).get("status") or {}
        time.sleep(0.05)


def why_not(status: dict[str, Any]) -> str:
    """Why nothing was selected; empty when something was, or nothing is said yet."""
    for item in status.get("conditions") or ():
        if item["type"] == "Selected" and item["status"] == "False":
            word = "refused: " if item.get("reason") == "Refused" else "the fault hit nothing: "
            return word + (item.get("message") or "nothing was selected")
    return ""


def _told(api: Api, resource: ResourceType, scope: str, fault: str) -> int:
    """Says what the fault has hit, as soon as the chaos daemon has written it.

    Returns: 0, or 6 when it hit nothing; a fault that hit nothing is taken away again.
    """
    from testbed.cli.faults import injected_targets

    for status in answered(api, resource, scope, fault):
        conditions = {item["type"]: item for item in status.get("conditions") or ()}
        problem = why_not(status)
        spent = conditions.get("AllInjected", {}).get("reason") == "NotInEffect"
        if problem or spent:
            api.request("DELETE", resource.path(scope, fault))
            printing.say("error: " + (problem or f"it took no effect: {conditions['AllInjected'].get('message')}"))
            return FAULT_WITHOUT_EFFECT
        if any(conditions.get(kind, {}).get("status") == "True" for kind in ("AllInjected", "AllRecovered")):
            printing.say("injected into " + ", ".join(injected_targets(status)))
            break
    else:
        printing.say("the chaos daemon has not injected it yet")
    printing.say(f"  look at it: testbed faults list\n  take it back: testbed faults undo {fault}")
    return 0
