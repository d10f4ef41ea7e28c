"""``testbed top``: the cluster live on a terminal; ``top nodes|pods``: what they use, asked of the agents through the
API."""

from __future__ import annotations

import sys
from typing import Any

import typer

from testbed.api.instance_files import instance_directory
from testbed.api.resources import NODES
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.errors import ApiError

app = typer.Typer()
top = typer.Typer(help="The cluster live on this terminal; or what nodes or pods use.")
app.add_typer(top, name="top")


@top.callback(invoke_without_command=True)
def live(
    context: typer.Context, name: str = printing.Name,
    once: bool = typer.Option(False, "--once", help="Print one picture and end; so does a pipe."),
) -> None:
    """Watch nodes, pods, Services, faults, the running experiment and events, live. q ends it."""
    if context.invoked_subcommand is None:
        from testbed.cli.top_live import show

        show(instance_directory(name), once=once or not sys.stdout.isatty())


def summaries(api: Api) -> dict[str, dict[str, Any] | None]:
    """Each node's ``/stats/summary``; None of a node that cannot be reached."""
    found: dict[str, dict[str, Any] | None] = {}
    for node in api.json("GET", NODES.path())["items"]:
        name = node["metadata"]["name"]
        try:
            found[name] = api.json("GET", NODES.path(name=name, subresource="proxy/stats/summary"))
        except ApiError as error:
            printing.say(f"node {name} cannot be asked: {error.message}")
            found[name] = None
    return found


def amounts(parts: list[dict[str, Any]]) -> tuple[str, str]:
    """CPU in millicores and memory in MiB of all parts (containers of a pod) together; unknown when one is."""
    cpus = [part.get("cpu", {}).get("usageNanoCores") for part in parts]
    memories = [part.get("memory", {}).get("workingSetBytes") for part in parts]
    cpu = None if None in cpus or not cpus else sum(cpus)
    memory = None if None in memories or not memories else sum(memories)
    return ("<unknown>" if cpu is None else f"{round(cpu / 1e6)}m",
            "<unknown>" if memory is None else f"{round(memory / 2**20)}Mi")


@top.command("nodes")
@top.command("node", hidden=True)
@top.command("no", hidden=True)
def top_nodes(name: str = printing.Name) -> None:
    """CPU and memory by node."""
    rows = [(node, *amounts([(summary or {}).get("node", {})])) for node, summary in summaries(connect(name)).items()]
    printing.out(printing.columns(("NAME", "CPU(cores)", "MEMORY(bytes)"), rows))


@top.command("pods")
@top.command("pod", hidden=True)
@top.command("po", hidden=True)
def top_pods(
    name: str = printing.Name, namespace: str = printing.Namespace,
    all_namespaces: bool = typer.Option(False, "-A", "--all-namespaces", help="All namespaces."),
) -> None:
    """CPU and memory by pod."""
    rows: list[tuple[str, ...]] = []
    for summary in summaries(connect(name)).values():
        for pod in (summary or {}).get("pods", []):
            reference = pod["podRef"]
            if all_namespaces:
                rows.append((reference["namespace"], reference["name"], *amounts(pod.get("containers", []))))
            elif reference["namespace"] == namespace:
                rows.append((reference["name"], *amounts(pod.get("containers", []))))
    header = ("NAMESPACE", "NAME", "CPU(cores)", "MEMORY(bytes)")
    printing.out(printing.columns(header if all_namespaces else header[1:], sorted(rows)))
