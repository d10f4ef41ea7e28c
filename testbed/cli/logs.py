"""``testbed logs``."""

from __future__ import annotations

import sys

import typer

from testbed.api.resources import PODS
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.errors import NotFound, UsageError

app = typer.Typer()


@app.command()
def logs(
    what: str = typer.Argument(..., metavar="POD | KIND/NAME", help="A pod, or deploy/web for one of its pods."),
    container: str = typer.Option("", "-c", "--container", help="Which container."),
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on."),
    tail: int = typer.Option(-1, "--tail", help="Only the last lines."),
    previous: bool = typer.Option(False, "-p", "--previous", help="Of the container before the last restart."),
    since: str = typer.Option("", "--since", help="Only what is newer than this, e.g. 30s."),
    timestamps: bool = typer.Option(False, "--timestamps", help="With times."),
    name: str = printing.Name,
    namespace: str = printing.Namespace,
) -> None:
    """Print a container's log."""
    api = connect(name)
    query = {"container": container, "follow": "true" if follow else "", "previous": "true" if previous else "",
             "timestamps": "true" if timestamps else "", "tailLines": str(tail) if tail >= 0 else "",
             "sinceSeconds": str(max(1, int(printing.seconds(since)))) if since else ""}
    path = PODS.path(namespace, pod_of(api, what, namespace), "log")
    for line in api.lines(path, {key: value for key, value in query.items() if value}, "*/*"):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def pod_of(api: Api, what: str, namespace: str) -> str:
    """The name of a pod: given as such, or the first ready one of what ``KIND/NAME`` selects."""
    if "/" not in what:
        return what
    kind, object_name = what.split("/", 1)
    resource = api.resource(kind)
    if resource.plural == "pods":
        return object_name
    spec = api.json("GET", resource.path(namespace, object_name)).get("spec", {})
    selector = spec.get("selector") or {}
    labels = selector.get("matchLabels", selector)
    if not labels:
        raise UsageError(f"{what} selects no pods")
    text = ",".join(f"{key}={value}" for key, value in labels.items() if isinstance(value, str))
    pods = api.json("GET", PODS.path(namespace), query={"labelSelector": text})["items"]
    if not pods:
        raise NotFound(f"{what} has no pods")
    ready = [pod for pod in pods for item in pod.get("status", {}).get("conditions", [])
             if item["type"] == "Ready" and item["status"] == "True"]
    return str((ready or pods)[0]["metadata"]["name"])
