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
from testbed.runtime.containers import ContainerState

_GATEWAY_WITHIN_S = 10.0
_LOOK_S = 0.1
_BEFORE_S, _AFTER_S = "0.5", "0.05"  # how long an answer is waited for
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
    proof = await _proof(tools, aim.target.node, together, outgoing=direction != "from")
    return {"hold": hold.to_json(), "proof": proof}


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


async def _proof(tools: Tools, node: str, together: Collection[str], *, outgoing: bool) -> Json:
    """Two sandboxes on either side of the cut, of which one reaches the other before it; else nothing: the rules alone
    must do. Keys: ``source`` and ``goal``."""
    states = await tools.engine.list({labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_SANDBOX},
                                     running_only=True)
    inside = _first(states, {node})
    outside = _first(states, {state.labels.get(labels.NODE, "") for state in states} - set(together))
    if inside is None or outside is None:
        return {}
    source, goal = (inside, outside) if outgoing else (outside, inside)
    pair = {"pid": source.pid, "source": source.labels.get(labels.POD_IP) or source.address,
            "goal": goal.labels.get(labels.POD_IP) or goal.address}
    return pair if await _reaches(tools, pair, _BEFORE_S) else {}


def _first(states: Sequence[ContainerState], nodes: Collection[str]) -> ContainerState | None:
    return next((state for state in sorted(states, key=lambda state: state.name)
                 if state.labels.get(labels.NODE) in nodes and state.pid), None)


async def measure_apart(tools: Tools, plan: Json) -> str:
    """Raises: NotInEffect."""
    hold = Hold.from_json(plan["hold"])
    if (await _gateway(tools)).id != hold.joined:
        raise NotInEffect("the gateway was started anew since, and passes everything on")
    holder = await holder_container.holds(tools, hold)
    proof = plan["proof"]
    reaches = await _reaches(tools, proof, _AFTER_S) if proof else None
    if reaches:
        raise NotInEffect(f"{proof['source']} still reaches {proof['goal']}")
    if reaches is False:
        return f"{proof['source']} does not reach {proof['goal']} any more"
    seen = await holder_container.look(tools, holder.id, "apart.seen", {"table": hold.plan["table"]})
    if not seen["rules"]:
        raise NotInEffect("its rules are not in the gateway's kernel")
    return f"its rules are in the gateway's kernel; packets swallowed so far: {seen['to'] + seen['from']}"


async def _reaches(tools: Tools, pair: Json, within_s: str) -> bool | None:
    """Whether one packet is answered; None: none could be sent."""
    try:
        process = await tools.host.identify(pair["pid"])
        argv = ("ping", "-n", "-q", "-c", "1", "-W", within_s, pair["goal"])
        code = (await tools.host.run_in(process, argv, timeout_s=_PING_WITHIN_S)).exit_code
    except (HostError, TimeoutError):
        return None
    return {0: True, 1: False}.get(code)


def split_of(plan: Json) -> Split:
    rules = plan["hold"]["plan"]
    return Split(plan["hold"]["joined"], rules["node"], tuple(rules["friends"]), rules["around"], rules["to"],
                 rules["from"])
