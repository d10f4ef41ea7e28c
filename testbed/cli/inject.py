"""``testbed inject``: one fault now; with ``--watch`` its recovery timeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from testbed.cli import output as printing
from testbed.errors import UsageError

if TYPE_CHECKING:
    from testbed.api.resources import ResourceType
    from testbed.cli.connection import Api

app = typer.Typer()


@app.command()
def inject(
    fault: str = typer.Argument("", metavar="[FAULT]", help="container-kill, freeze, node-kill ..."),
    file: Path = typer.Option(None, "-f", "--filename", help="A fault object instead."),
    selector: str = typer.Option("", "-l", "--selector", help="Whom: labels, e.g. app=web."),
    pod: list[str] = typer.Option([], "--pod", help="Whom: a pod by name."),
    mode: str = typer.Option("one", "--mode", help="one, all, fixed, fixed-percent, random-max-percent."),
    value: str = typer.Option("", "--value", help="Number or percentage of the mode."),
    container: list[str] = typer.Option([], "-c", "--container", help="Only these containers."),
    duration: str = typer.Option("20s", "--for", help="How long it is held."),
    watch: bool = typer.Option(False, "--watch", "-w", help="Wait until all is well again and print the timeline."),
    timeout: str = typer.Option("60s", "--timeout", help="With --watch: how long to wait for that."),
    output: str = printing.Output,
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> int:
    """Inject one fault now:  testbed inject node-kill -l app=web --for 20s --watch"""
    from testbed.experiment.inject import fault_object, injection, read_fault

    printing.check_format(output, ("", "json", "yaml"))
    if bool(fault) == bool(file):
        raise UsageError("name a fault, or give -f FILE", hint="testbed inject container-kill -l app=web")
    if fault == "container-kill" and not container:
        container = containers_of(name, namespace, selector, pod)
    obj = read_fault(file) if file else fault_object(
        fault, labels=labels_of(selector), pods={namespace: pod} if pod else None, mode=mode, value=value,
        duration=duration, containers=tuple(container), namespace=namespace,
    )
    loaded = injection(obj, namespace=namespace, watch_s=printing.seconds(timeout), step=fault)
    if not watch:
        return _create(obj, fault or obj["kind"].lower(), name, namespace)
    import asyncio

    from testbed.api.instance import instance_directory, load_instance
    from testbed.cli.finish import finish
    from testbed.cli.open_cluster import cluster_for_run
    from testbed.experiment.runner import ExperimentRun

    load_instance(instance_directory(name))  # an injection needs a cluster with something in it
    job = ExperimentRun(loaded, cluster_for_run(name, printing.say), instance_directory(name) / "runs", printing.say,
                        keep=True, command="inject")
    result = asyncio.run(job.run())
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
    import secrets

    from testbed.cli.connection import connect

    api = connect(name)
    resource = api.resource_of(obj)
    metadata = obj.setdefault("metadata", {})
    metadata.setdefault("name", f"{word}-{secrets.token_hex(2)}")
    scope = metadata.setdefault("namespace", namespace)
    api.request("POST", resource.path(scope), body=obj, query={"fieldValidation": "Strict"})
    printing.out(f"{resource.kind.lower()}.{resource.group}/{metadata['name']} created")
    return _told(api, resource, scope, metadata["name"])


ANSWER_S = 10.0
FAULT_WITHOUT_EFFECT = 6


def _told(api: Api, resource: ResourceType, scope: str, fault: str) -> int:
    """Says what the fault has hit, as soon as the chaos daemon has written it.

    Returns: 0, or 6 when it hit nothing; a fault that hit nothing is taken away again.
    """
    import time

    from testbed.cli.faults import injected_targets

    path, deadline = resource.path(scope, fault), time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        status = api.json("GET", path).get("status") or {}
        conditions = {item["type"]: item for item in status.get("conditions") or ()}
        if conditions.get("Selected", {}).get("status") == "False":
            api.request("DELETE", path)
            printing.say("error: the fault hit nothing: "
                         + (conditions["Selected"].get("message") or "nothing was selected"))
            return FAULT_WITHOUT_EFFECT
        if conditions.get("AllInjected", {}).get("status") == "True" or (
                conditions.get("AllRecovered", {}).get("status") == "True"):
            printing.say("injected into " + ", ".join(injected_targets(status)))
            break
        time.sleep(0.05)
    else:
        printing.say("the chaos daemon has not injected it yet")
    printing.say(f"  look at it: testbed faults list\n  take it back: testbed delete {resource.plural} {fault}")
    return 0
