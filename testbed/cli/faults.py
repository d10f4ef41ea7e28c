"""``testbed faults``: which faults there are and whether this machine can do them, and what is in effect now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from testbed.api.resources import CHAOS_MESH_GROUP, TESTBED_GROUP, ResourceType
from testbed.cli import output as printing
from testbed.cli.connection import Api, connect
from testbed.errors import ApiUnavailable, UsageError

if TYPE_CHECKING:
    from faults.ledger import Entry
    from faults.protocol import Fault

app = typer.Typer()
faults = typer.Typer(help="Which faults there are, and what is in effect now.")
app.add_typer(faults, name="faults")

RESTARTS = {"pod": "stays", "container": "cures it", "node": "stays", "cluster": "stays", "never": "-"}


def fault_kinds(api: Api) -> list[ResourceType]:
    """The kinds that the chaos daemon has registered."""
    return [resource for resource in api.custom_resources()
            if resource.group in (CHAOS_MESH_GROUP, TESTBED_GROUP) and resource.kind.endswith("Chaos")]


@faults.callback(invoke_without_command=True)
def all_of_them(context: typer.Context, output: str = printing.Output) -> None:
    """Which faults there are, what they need, and whether this machine has it."""
    if context.invoked_subcommand is not None:
        return
    from faults.naming import short_name
    from faults.registry import Registry

    have = abilities_here()
    rows = [{"name": short_name(fault), "kind": fault.kind.kind, "action": fault.action, "hits": fault.level,
             "restart": RESTARTS[fault.after_restart], "needs": list(fault.needs), "here": can_do(fault, have),
             "does": fault.summary} for fault in Registry().faults()]
    if output:
        printing.dump(rows, output)
        return
    printing.out(printing.columns(
        ("FAULT", "KIND", "HITS", "RESTART", "HERE", "WHAT HAPPENS"),
        [(row["name"], row["kind"], row["hits"], row["restart"], row["here"], row["does"]) for row in rows]))
    printing.say("RESTART: what a restart of the target does to it. One in full: testbed faults show NAME. "
                 "In effect now: testbed faults list")


def abilities_here() -> dict[str, bool]:
    """What this machine has of what faults need; what could not be tried is not in it."""
    import asyncio

    from faults.abilities import names_in
    from faults.registry import Registry
    from testbed.errors import TestbedError
    from testbed.runtime.factory import open_engine
    from testbed.runtime.trial import abilities

    async def ask() -> dict[str, bool]:
        engine = open_engine("")
        try:
            return await abilities(engine, wanted)
        finally:
            await engine.close()

    wanted = {name for fault in Registry().faults() for need in fault.needs for name in names_in(need)}
    try:
        return asyncio.run(ask())
    except TestbedError as error:
        printing.say(f"what this machine can do is not known: {error.message}")
        return {}


def can_do(fault: Fault, have: dict[str, bool]) -> str:
    """``yes``, with the mechanism where there is a choice; what is missing; ``?`` when it could not be tried."""
    from faults.abilities import names_in, unmet

    missing = unmet(fault.needs, have)
    if missing:
        return "no: lacks " + ", ".join(missing)
    told = [names_in(need) for need in fault.needs]
    if any(not set(names) & have.keys() for names in told):
        return "?"
    chosen = [next(name for name in names if have.get(name)) for names in told]
    return f"yes, by {', '.join(chosen)}" if chosen else "yes"


@faults.command("show")
def show(fault: str = typer.Argument(..., metavar="FAULT", help="node-kill, network-delay ...")) -> None:
    """What a fault does, its fields, and an object that injects it."""
    from testbed.cli.fault_page import page
    from testbed.experiment.inject import named_fault

    found = named_fault(fault)
    printing.out(page(found, can_do(found, abilities_here() if found.needs else {})))


@faults.command("list")
def list_faults(name: str = printing.Name, output: str = printing.Output) -> None:
    """Fault objects: what each has hit and whether it is in effect. Without an API, what the ledger knows."""
    from testbed.api.instance_files import instance_directory, load_instance
    from testbed.cli.faults_undo import known

    instance = load_instance(instance_directory(name))
    try:
        api = connect(name)
        objects = [obj for resource in fault_kinds(api) for obj in api.json("GET", resource.path())["items"]]
        rows = [_row(obj) for obj in objects]
    except ApiUnavailable:
        printing.say("the API does not answer; this is what the ledger knows")
        entries = known(instance)
        objects = [{"id": entry.id, "kind": entry.kind, "namespace": entry.namespace, "name": entry.name,
                    "target": entry.target.id, "phase": str(entry.phase)} for entry in entries]
        rows = [_of_ledger(entry) for entry in entries]
    if output:
        printing.dump(objects, output)
    elif rows:
        printing.out(printing.columns(("NAMESPACE", "NAME", "KIND", "ACTION", "STATE", "TARGETS"), rows))
    else:
        printing.say("nothing is injected")


def _row(obj: dict[str, Any]) -> tuple[str, ...]:
    status = obj.get("status") or {}
    conditions = {item["type"]: (item["status"], item.get("reason", "")) for item in status.get("conditions", [])}
    selected, injected = conditions.get("Selected", ("", "")), conditions.get("AllInjected", ("", ""))
    state = ("recovered" if conditions.get("AllRecovered", ("", ""))[0] == "True" else
             "injected" if injected[0] == "True" else
             {"NoTarget": "no target", "Refused": "refused"}.get(selected[1], "pending") if selected[0] == "False" else
             "no effect" if injected[1] == "NotInEffect" else "pending")
    targets = ", ".join(injected_targets(status)) or "-"
    return (obj["metadata"].get("namespace", ""), obj["metadata"]["name"], obj["kind"],
            (obj.get("spec") or {}).get("action", "-"), state, targets)


def _of_ledger(entry: Entry) -> tuple[str, ...]:
    return (entry.namespace, entry.name, entry.kind, entry.injector.partition("/")[2] or "-", str(entry.phase),
            entry.target.id)


def injected_targets(status: dict[str, Any]) -> list[str]:
    """What a fault object's status says it has chosen."""
    return [str(record["id"]) for record in (status.get("experiment") or {}).get("containerRecords") or ()]


@faults.command("undo")
def undo(
    fault: list[str] = typer.Argument(None, metavar="[NAME]...", help="Names of fault objects."),
    everything: bool = typer.Option(False, "--all", help="All that is in effect."),
    name: str = printing.Name,
) -> int:
    """Take faults back, even when nothing else of ours runs. Twice is harmless."""
    from testbed.cli.faults_undo import take_back

    if bool(fault) == everything:
        raise UsageError("name fault objects, or say --all", hint="see: testbed faults list")
    return take_back(name, tuple(fault or ()))
