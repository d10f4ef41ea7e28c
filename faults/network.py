"""NetworkChaos: what is done to the packets of a pod.

A holder container in the pod's network namespace does it (tools image: packets.py, which says what it was done with:
netem, tbf, iptables, NFQUEUE). It stays through restarts of the pod's containers. Which packets: network_flows.py. What
becomes of them: network_effects.py. What proves it: network_proof.py.

Without peers the proof is a run of ping from the gateway, another container, against the same run before the fault.
With ``target`` it comes from a peer's own namespace: the holder of the same object's injection there. Packets to peers
outside are sent from here, as datagrams, and the kernel's counters say how they fared; so it is for what is too rare to
be seen in a run, and for a pod that answered nobody before.

Look: ``packets.counters`` {id, to: [[address, port or 0], ...], count} answers {before: {met, lost},
after: {met, lost}, sent, stands}.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar

from faults import holder_container, network_fields, network_proof
from faults.effects import Effect
from faults.held import HeldFault
from faults.holder_container import Hold
from faults.kinds import NETWORK_CHAOS
from faults.network_effects import effect_of, simulated
from faults.network_flows import Ends, flows, passes, sent
from faults.network_proof import BASELINE, Run, Seen, Verdict
from faults.protocol import PEERS, SELECTED, Aim, Drawing, Json, NotInEffect, Refused, Target, TargetGone, Tools
from faults.sandboxes import gateway_of, sandbox_of
from testbed.api import labels
from testbed.errors import Mistake
from testbed.runtime.containers import ContainerState

_ROUNDS_S = 5.0
_DATAGRAMS = 8


class NetworkFault(HeldFault):
    """Base of the actions."""

    kind = NETWORK_CHAOS
    level = "pod"
    fields = network_fields.FIELDS
    needs = ("netem or nfqueue",)
    after_restart = "pod"

    def mistakes(self, spec: Mapping[str, Any]) -> tuple[Mistake, ...]:
        return network_fields.mistakes(spec)

    def selections(self, spec: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        return {SELECTED: spec, **({PEERS: spec["target"]} if spec.get("target") else {})}

    async def prepare(self, tools: Tools, aim: Aim) -> Json:
        sandbox = await sandbox_of(tools, aim.target)
        there = await _sandboxes(tools)
        selected, targets = (_addresses(there, aim.chosen.get(key, ())) for key in (SELECTED, PEERS))
        if aim.spec.get("target") and not targets:
            raise TargetGone("target matches no pod that runs")
        ends = Ends(sandbox.address, set(selected.values()), set(targets.values()))
        if aim.spec.get("target") and not any(one != other for one in ends.selected for other in ends.targets):
            raise Refused("selector and target chose the same pod: its way to itself crosses no network")
        found, effect = flows(aim.spec, aim.target.key, ends), effect_of(aim.spec)
        hold = Hold(aim.entry_id, self.name, "packets", {"flows": found, "effect": effect}, sandbox.id,
                    aim.deadline_ns, network=True, cap_add=("NET_ADMIN", "NET_RAW", "SYS_NICE"))
        others = targets if aim.target.key == SELECTED else selected
        return {
            "hold": hold.to_json(), "address": sandbox.address, "before": asdict(await _before(tools, sandbox.address)),
            "sent": sent(aim.spec, aim.target.key, ends),
            "probers": {there_id: address for there_id, address in others.items() if address != sandbox.address},
        }

    def verify_within_s(self, plan: Json) -> float:
        """Several rounds, the first of which may come before the peer's holder runs."""
        hold = plan["hold"]["plan"]
        return _ROUNDS_S + 2 * network_proof.run_for(hold["effect"], 2).within_s()

    async def measure(self, tools: Tools, plan: Json, holder: str) -> str:
        hold = plan["hold"]["plan"]
        if not hold["flows"]:
            return "nothing is left for it: all its packets are met by this fault's injections elsewhere"
        before = Seen(**plan["before"])
        if not before.received:
            return await _stands(tools, plan, holder, "the pod answered nobody before")
        prober, times = await self._prober(tools, plan)
        if not prober:
            return await _counted(tools, plan, holder)
        effect = hold["effect"]
        if effect.get("rate") and not network_proof.can_be_filled(effect["rate"]):
            return await _stands(tools, plan, holder, "so fast a rate cannot be used up from outside")
        verdicts = [await _judged(tools, plan, prober, effect, times)] if set(effect) != {"rate"} else []
        if effect.get("rate"):
            verdicts.append(await _judged_rate(tools, plan, prober, effect["rate"]))
        words = "; ".join(verdict.words for verdict in verdicts)
        if not all(verdict.holds for verdict in verdicts):
            run = network_proof.run_for(effect, times)
            if network_proof.too_rare(effect, times, run):
                return f"{words}; {await _stands(tools, plan, holder, 'too rare or too short to be seen in one run')}"
            raise NotInEffect(words)
        return words

    async def _prober(self, tools: Tools, plan: Json) -> tuple[str, int]:
        """Id of a container whose packets to the pod are met, and how often a round trip is met; empty: there is none.

        Raises: NotInEffect when it does not run yet.
        """
        found = plan["hold"]["plan"]["flows"]
        if any(flow["peers"] is None for flow in found):
            return (await gateway_of(tools)).id, passes(found, str(plan["address"]))
        useful = {sandbox: address for sandbox, address in plan["probers"].items() if passes(found, address)}
        if not useful:
            return "", 0
        injection = plan["hold"]["entry_id"].rpartition("-")[0]
        for state in await tools.engine.list(
                {labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_HOLDER}, running_only=True):
            joined = state.labels.get(labels.JOINED, "")
            if joined in useful and state.labels.get(labels.INJECTION, "").startswith(f"{injection}-"):
                return state.id, passes(found, useful[joined])
        raise NotInEffect("no holder runs in a peer's network yet, from which it could be seen")

    def simulated(self, plan: Json) -> tuple[Effect, ...]:
        hold = plan["hold"]
        wanted = plan.get("sent", hold["plan"]["flows"])
        return simulated(hold["joined"], hold["plan"]["effect"], wanted)


async def _sandboxes(tools: Tools) -> dict[str, ContainerState]:
    """By the uid of their pods."""
    found = await tools.engine.list({
        labels.INSTANCE: tools.site.instance_id, labels.ROLE: labels.ROLE_SANDBOX}, running_only=True)
    return {state.labels.get(labels.POD_UID, ""): state for state in found}


def _addresses(there: Mapping[str, ContainerState], chosen: tuple[Target, ...]) -> dict[str, str]:
    """By the ids of the sandboxes; pods that do not run have none."""
    found = (there.get(target.uid) for target in chosen)
    return {state.id: state.address for state in found if state is not None and state.address}


async def _ping(tools: Tools, container: str, address: str, run: Run) -> Seen:
    """Raises: NotInEffect when it cannot be run."""
    try:
        result = await tools.engine.exec(container, run.argv(address), timeout_s=run.within_s())
        return network_proof.read(result.output.decode(errors="replace"))
    except (TimeoutError, ValueError) as error:
        raise NotInEffect(f"could not be measured: {error or 'ping did not end'}") from error


async def _before(tools: Tools, address: str) -> Seen:
    """Raises: NotInEffect, as of everything that may be seen when it is tried again."""
    try:
        gateway = await gateway_of(tools)
    except TargetGone as error:
        raise NotInEffect(f"could not be measured: {error}") from error
    return await _ping(tools, gateway.id, address, BASELINE)


async def _judged(tools: Tools, plan: Json, prober: str, effect: Json, times: int) -> Verdict:
    run, before = network_proof.run_for(effect, times), Seen(**plan["before"])
    run = replace(run, wait_s=run.wait_s + 2 * before.most_s)  # an answer that another fault makes late is no silence
    return network_proof.judge(effect, times, before, await _run(tools, plan, prober, run))


async def _judged_rate(tools: Tools, plan: Json, prober: str, rate: Json) -> Verdict:
    run = network_proof.run_for_rate(rate)
    seen = await _run(tools, plan, prober, run)
    return network_proof.judge_rate(rate, run, Seen(**plan["before"]), seen)


async def _run(tools: Tools, plan: Json, prober: str, run: Run) -> Seen:
    """Where conntrack looks and packets wait, one echo comes first: more of a flow that it does not know yet would be
    lost while the first one waits (nf_conntrack_core.c nf_ct_resolve_clash), and that loss is not the fault's."""
    hold = plan["hold"]["plan"]
    if hold["effect"].keys() & {"delay", "rate"} and any(flow["side"] for flow in hold["flows"]):
        run = replace(run, identity=1 + zlib.crc32(plan["hold"]["entry_id"].encode()) % 60_000)
        await _ping(tools, prober, plan["address"], replace(run, count=1, burst=False))
    return await _ping(tools, prober, plan["address"], run)


async def _counted(tools: Tools, plan: Json, holder: str) -> str:
    """Packets to peers outside. Raises: NotInEffect."""
    hold = plan["hold"]["plan"]
    to = [[str(ipaddress.IPv4Network(peer["cidr"])[0]), peer["port"]]
          for flow in hold["flows"] if flow["hook"] == "out" for peer in flow["peers"]]
    if not to:
        return await _stands(tools, plan, holder, "nobody outside can be asked to send something")
    share = network_proof.lost_share(hold["effect"], 1)
    count = min(400, int(10 / share) + 1) if share else _DATAGRAMS
    found = await _look(tools, plan, holder, {"to": to, "count": count})
    met, lost = (found["after"][name] - found["before"][name] for name in ("met", "lost"))
    wanted_lost = hold["effect"].get("drop") or share >= 0.02 and "loss" in hold["effect"] and \
        not hold["effect"]["loss"]["correlation"]
    if not met or (wanted_lost and not lost):
        raise NotInEffect(f"of {found['sent']} packets sent to its peers {met} met its rules, {lost} were lost")
    return f"of {found['sent']} packets sent to its peers {met} met its rules" + (f", {lost} were lost" if lost else "")


async def _stands(tools: Tools, plan: Json, holder: str, why: str) -> str:
    """The least: what does it stands in the kernel. Raises: NotInEffect."""
    found = await _look(tools, plan, holder, {})
    if not found["stands"]:
        raise NotInEffect("its rules do not stand")
    return f"its rules stand; {why}"


async def _look(tools: Tools, plan: Json, holder: str, question: Json) -> Json:
    found: Json = await holder_container.look(
        tools, holder, "packets.counters", {"id": plan["hold"]["entry_id"], **question})
    return found


_DRAWN = "#2980b9"


class Delay(NetworkFault):
    action = "delay"
    summary = "packets come late, by a latency with jitter; some may pass those that wait"
    example: ClassVar[Json] = {"delay": {"latency": "100ms"}}
    drawn = Drawing("delay", _DRAWN)


class Loss(NetworkFault):
    action = "loss"
    summary = "a share of the packets is lost"
    example: ClassVar[Json] = {"loss": {"loss": "40"}}
    drawn = Drawing("loss", _DRAWN)


class Duplicate(NetworkFault):
    action = "duplicate"
    summary = "a share of the packets comes twice"
    example: ClassVar[Json] = {"duplicate": {"duplicate": "50"}}
    drawn = Drawing("duplicate", _DRAWN)


class Corrupt(NetworkFault):
    action = "corrupt"
    summary = "a share of the packets has one wrong bit, and with it a wrong checksum"
    example: ClassVar[Json] = {"corrupt": {"corrupt": "40"}}
    drawn = Drawing("corrupt", _DRAWN)


class Netem(NetworkFault):
    action = "netem"
    summary = "delay, loss, duplicate, corrupt and rate together"
    example: ClassVar[Json] = {"delay": {"latency": "50ms"}, "loss": {"loss": "30"}}
    drawn = Drawing("netem", _DRAWN)


class Partition(NetworkFault):
    action = "partition"
    summary = "no packet passes between the pods and their peers, or at all"
    example: ClassVar[Json] = {"direction": "both"}
    needs = ("nfqueue",)
    drawn = Drawing("partition", "#8e44ad")


class Bandwidth(NetworkFault):
    action = "bandwidth"
    needs = ("tbf or nfqueue",)
    summary = "packets pass at a rate at most; what cannot wait is lost"
    example: ClassVar[Json] = {"bandwidth": {"rate": "1mbit", "limit": 100_000, "buffer": 10_000}}
    drawn = Drawing("bandwidth", _DRAWN)
