"""``testbed node add|remove|replace|list``: the machines of a running cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import typer

from testbed.api.instance_files import instance_directory, load_instance
from testbed.cli import output as printing
from testbed.machines.protocol import MachineRoom

app = typer.Typer()
node = typer.Typer(no_args_is_help=True, help="Add, remove, replace and list nodes of a running cluster.")
app.add_typer(node, name="node")

Value = TypeVar("Value")


def ask(name: str, question: Callable[[MachineRoom], Awaitable[Value]]) -> Value:
    """Asks the machine room of a cluster something."""
    from testbed.machines.client import RoomClient

    async def once() -> Value:
        return await question(RoomClient(load_instance(instance_directory(name)).room_socket))

    return asyncio.run(once())


def cable_word(holds: Sequence[Mapping[str, Any]]) -> str:
    """What faults make of a node's cable: ok, CUT, CUT to (the API) or from (it), LATE."""
    ways = {hold["direction"] for hold in holds if hold["cut"]}
    if ways:
        return f"CUT {ways.pop()}" if ways in ({"to"}, {"from"}) else "CUT"
    return "LATE" if holds else "ok"


@node.command()
def add(
    node_name: str = typer.Argument("", metavar="[NAME]", help="Default: the next free node-N."),
    cpu: str = typer.Option("", "--cpu", help="A real limit, e.g. 2."),
    memory: str = typer.Option("", "--memory", help="A real limit, e.g. 2Gi."),
    kind: str = typer.Option("slice", "--kind", help="slice or engine, as of: testbed up --node-kind."),
    name: str = printing.Name,
) -> None:
    """Add a node."""
    added = ask(name, lambda room: room.add_node(node_name, cpu=cpu, memory=memory, kind=kind))
    printing.out(f"node/{added} added")


@node.command()
def remove(node_name: str = typer.Argument(..., metavar="NAME"), name: str = printing.Name) -> None:
    """Power a node off and forget it. Drain it first if its pods shall move gently."""
    ask(name, lambda room: room.remove_node(node_name))
    printing.out(f"node/{node_name} removed")


@node.command()
def replace(node_name: str = typer.Argument(..., metavar="NAME"), name: str = printing.Name) -> None:
    """A new machine under the same name."""
    async def exchange(room: MachineRoom) -> None:
        kind = next((item.kind for item in (await room.status()).nodes if item.name == node_name), "slice")
        await room.remove_node(node_name)
        await room.add_node(node_name, kind=kind)

    ask(name, exchange)
    printing.out(f"node/{node_name} replaced")


@node.command("list")
def list_nodes(name: str = printing.Name) -> None:
    """The machines: power, cable, range of pod addresses."""
    status = ask(name, lambda room: room.status())
    printing.out(printing.columns(
        ("NAME", "KIND", "POWER", "CABLE", "PODS", "AGENT-PID"),
        [(item.name, item.kind, "on" if item.powered else "OFF", cable_word([asdict(hold) for hold in item.cable]),
          item.pod_cidr, item.agent_pid) for item in status.nodes]))
