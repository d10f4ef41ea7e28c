"""The part of a node's partition that concerns its pods: they and the pods of other nodes do not reach each other.

All traffic between pods passes the gateway, so a holder container in the gateway's network namespace drops it there
(``compose/images/nettools/apart.py``), in a table of its own. What stays: the node's own pods, this machine, the
gateway and Services whose endpoints are on the node's side. The nodes that one object selects stay together: the cut
runs between them and all others. The holder lives in the gateway's pid namespace too: with the gateway it dies, and is
then seen to be dead. Its look: ``apart.seen``, asked with ``{"table"}``, tells ``{"rules", "to", "from"}``, packets
swallowed so far.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection, Sequence

from faults import holder_container
from faults.effects import Split
from faults.holder_container import Hold
from faults.nodes import node_state
from faults.protocol import SELECTED, Aim, Json, NotInEffect, Refused, TargetGone, Tools
from faults.sandboxes import gateway_of
from testbed.api import labels
from testbed.errors import HostError
from testbed.runtime.protocol import ContainerState

_GATEWAY_WITHIN_S = 10.0
_LOOK_S = 0.1
_PING_S = "0.05"
_PING_WITHIN_S = 2.0


async def plan_apart(tools: Tools, aim: Aim, fault: str, direction: str) -> Json:
    """``hold``, and ``proof``: two pods that shall not reach each other. Raises: TargetGone, Refused."""
    own = (await node_state(tools, aim.target.node)).pod_cidr
    together = {target.node for target in aim.chosen.get(SELECTED, ())} | {aim.target.node}
    nodes = {node.name: node.pod_cidr for node in (await tools.room.status()).nodes}
    if not set(nodes) - together:
        raise Refused("there is no other node that it could be cut off from",
                      hint="the nodes that one object selects stay together: select fewer, or use an object for each")
    around, aside = surroundings(own)
    friends = sorted({nodes[name] for name in together if name in nodes} | {aside})
    rules = {"table": "apart_" + "".join(letter if letter.isalnum() else "_" for letter in aim.entry_id), "node": own,
             "friends": friends, "around": around, "to": direction != "from", "from": direction != "to"}
    gateway = await _gateway(tools)
    hold = Hold(aim.entry_id, fault, "apart", rules, gateway.id, aim.deadline_ns, network=True, pid=True,
                cap_add=("NET_ADMIN",))
    return {"hold": hold.to_json(), "proof": await _proof(tools, aim.target.node, together)}


async def _gateway(tools: Tools) -> ContainerState:
    """Waits for one that is being started anew. Raises: NotInEffect."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _GATEWAY_WITHIN_S
    while True:
        try:
            return await gateway_of(tools)
        except TargetGone as error:
            if loop.time() >= until:
                raise NotInEffect(str(error)) from error
        await asyncio.sleep(_LOOK_S)


def surroundings(pod_cidr: str) -> tuple[str, str]:
    """The range of all pods, and its part that is no node's: this machine and the gateway (architecture.md)."""
    around = ipaddress.IPv4Network(pod_cidr).supernet(new_prefix=17)
    return str(around), str(next(around.subnets(new_prefix=24)))


async def _proof(tools: Tools, node: str, together: Collection[str]) -> Json:
    """A sandbox on the node and one beyond the cut, where there are both; else nothing: rules alone must do."""
    states = await tools.engine.list({labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_SANDBOX},
                                     running_only=True)
    inside = _first(states, {node})
    outside = _first(states, {state.labels.get(labels.NODE, "") for state in states} - set(together))
    if inside is None or outside is None:
        return {}
    return {"inside": {"pid": inside.pid, "address": inside.labels.get(labels.POD_IP) or inside.address},
            "outside": {"pid": outside.pid, "address": outside.labels.get(labels.POD_IP) or outside.address}}


def _first(states: Sequence[ContainerState], nodes: Collection[str]) -> ContainerState | None:
    return next((state for state in sorted(states, key=lambda state: state.name)
                 if state.labels.get(labels.NODE) in nodes and state.pid), None)


async def measure_apart(tools: Tools, plan: Json) -> str:
    """Raises: NotInEffect."""
    hold = Hold.from_json(plan["hold"])
    if (await _gateway(tools)).id != hold.joined:
        raise NotInEffect("the gateway was started anew since, and passes everything on")
    holder = await holder_container.holds(tools, hold)
    tried = await _ping(tools, plan.get("proof") or {}, outgoing=hold.plan["to"])
    seen = await holder_container.look(tools, holder.id, "apart.seen", {"table": hold.plan["table"]})
    if not seen["rules"]:
        raise NotInEffect("its rules are not in the gateway's kernel")
    swallowed = seen["to"] + seen["from"]
    return f"{tried or 'its rules are in force'}; packets that the gateway has swallowed: {swallowed}"


async def _ping(tools: Tools, proof: Json, *, outgoing: bool) -> str:
    """What became of one packet across the cut, in words; empty when none could be sent. Raises: NotInEffect."""
    if not proof:
        return ""
    source, goal = (proof["inside"], proof["outside"]) if outgoing else (proof["outside"], proof["inside"])
    try:
        process = await tools.host.identify(source["pid"])
        argv = ("ping", "-n", "-q", "-c", "1", "-W", _PING_S, goal["address"])
        done = await tools.host.run_in(process, argv, timeout_s=_PING_WITHIN_S)
    except (HostError, TimeoutError):
        return ""
    if done.exit_code == 0:
        raise NotInEffect(f"{source['address']} still reaches {goal['address']}")
    return f"{source['address']} does not reach {goal['address']}" if done.exit_code == 1 else ""


def split_of(plan: Json) -> Split:
    rules = plan["hold"]["plan"]
    return Split(plan["hold"]["joined"], rules["node"], tuple(rules["friends"]), rules["around"], rules["to"],
                 rules["from"])
