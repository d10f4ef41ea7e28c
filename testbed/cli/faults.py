"""``testbed faults``: which fault kinds the cluster knows, and what is injected now."""

from __future__ import annotations

from typing import Any

import typer

from testbed.api.resources import CHAOS_MESH_GROUP, TESTBED_GROUP, ResourceType
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect

app = typer.Typer()
faults = typer.Typer(no_args_is_help=True, help="Fault kinds, and what is injected now.")
app.add_typer(faults, name="faults")


def fault_kinds(api: Api) -> list[ResourceType]:
    """The kinds that the chaos daemon has registered."""
    return [resource for resource in api.custom_resources()
            if resource.group in (CHAOS_MESH_GROUP, TESTBED_GROUP) and resource.kind.endswith("Chaos")]


@faults.command("kinds")
def kinds(name: str = printing.Name) -> None:
    """Fault kinds and their actions."""
    rows = []
    crds = connect(name).json("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
    for crd in crds:
        kind = crd["spec"]["names"]["kind"]
        if kind.endswith("Chaos"):
            version = crd["spec"]["versions"][0]
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            actions = ", ".join(spec.get("action", {}).get("enum", [])) or "-"
            rows.append((kind, f"{crd['spec']['group']}/{version['name']}", actions))
    printing.out(printing.columns(("KIND", "APIVERSION", "ACTIONS"), sorted(rows)))


@faults.command("list")
def list_faults(name: str = printing.Name, output: str = printing.Output) -> None:
    """Fault objects: what each has hit and whether it is in force."""
    printing.check_format(output, ("", "json", "yaml"))
    api = connect(name)
    objects: list[dict[str, Any]] = []
    for resource in fault_kinds(api):
        objects += api.json("GET", resource.path())["items"]
    if output:
        printing.dump(objects, output)
        return
    if not objects:
        printing.say("nothing is injected")
        return
    printing.out(printing.columns(
        ("NAMESPACE", "NAME", "KIND", "ACTION", "STATE", "TARGETS"), [_row(obj) for obj in objects]))


def _row(obj: dict[str, Any]) -> tuple[str, ...]:
    status = obj.get("status") or {}
    conditions = {item["type"]: item["status"] for item in status.get("conditions", [])}
    state = ("recovered" if conditions.get("AllRecovered") == "True" else
             "injected" if conditions.get("AllInjected") == "True" else
             "refused" if conditions.get("Selected") == "False" else "pending")
    targets = ", ".join(injected_targets(status)) or "-"
    return (obj["metadata"].get("namespace", ""), obj["metadata"]["name"], obj["kind"],
            (obj.get("spec") or {}).get("action", "-"), state, targets)


def injected_targets(status: dict[str, Any]) -> list[str]:
    """What a fault object's status says it has chosen."""
    return [str(record["id"]) for record in (status.get("experiment") or {}).get("containerRecords") or ()]
