"""From a NetworkChaos object to its packets: fields, who is met where, and what proves it."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.nettools import load

from faults import network_fields, network_flows, network_proof
from faults.network_effects import bits_per_s, effect_of, simulated
from faults.network_flows import Ends
from faults.network_proof import Seen
from faults.protocol import PEERS, SELECTED
from faults.registry import Registry

Json = dict[str, Any]
SELECTOR: Json = {"labelSelectors": {"app.kubernetes.io/component": "tikv"}}
BASE: Json = {"mode": "one", "selector": SELECTOR, "duration": "10s"}
OUTSIDE = ["8.8.8.8", "www.google.com", "8.8.0.0/16", "1.1.1.1:80", "example.com:443", "10.0.0.0/8:22"]
TARGET: Json = {"mode": "one", "selector": SELECTOR}
DELAY: Json = {"latency": "90ms", "correlation": "25", "jitter": "90ms"}

# The shapes of chaos-mesh examples/network-*.yaml.
EXAMPLES: dict[str, Json] = {
    "bandwidth": {"action": "bandwidth", "bandwidth": {
        "rate": "100kbps", "limit": 100, "buffer": 10000, "peakrate": 1000000, "minburst": 1000000}},
    "corrupt": {"action": "corrupt", "corrupt": {"corrupt": "40", "correlation": "25"}},
    "delay": {"action": "delay", "delay": DELAY},
    "delay-with-external-target": {"action": "delay", "delay": DELAY, "direction": "to", "externalTargets": OUTSIDE},
    "delay-with-target": {
        "action": "delay", "delay": DELAY, "direction": "to",
        "selector": {"namespaces": ["web"], "labelSelectors": {"app.kubernetes.io/component": "web-app"}},
        "target": {"mode": "one", "selector": {
            "namespaces": ["db", "storage"], "labelSelectors": {"app.kubernetes.io/component": "pool"}}}},
    "duplicate": {"action": "duplicate", "duplicate": {"duplicate": "40", "correlation": "25"}},
    "loss": {"action": "loss", "loss": {"loss": "25", "correlation": "25"}},
    "netem": {"action": "netem", "delay": DELAY, "loss": {"loss": "25", "correlation": "25"}},
    "netem-with-target": {"action": "netem", "delay": DELAY, "loss": {"loss": "25", "correlation": "25"},
                          "direction": "to", "target": TARGET},
    "partition": {"action": "partition", "direction": "to", "target": TARGET},
    "partition-with-external-targets": {"action": "partition", "direction": "to", "externalTargets": OUTSIDE},
}


def mistakes(**spec: Any) -> dict[str, str]:
    return {wrong.field: wrong.message for wrong in network_fields.mistakes({**BASE, **spec})}


# --- fields


@pytest.mark.parametrize("name", EXAMPLES)
def test_chaos_meshs_own_examples_are_right(name: str) -> None:
    obj = {"kind": "NetworkChaos", "metadata": {"name": name}, "spec": {**BASE, **EXAMPLES[name]}}
    assert Registry().mistakes(obj) == ()
    assert effect_of(obj["spec"])


@pytest.mark.parametrize(("spec", "field"), [
    ({"action": "delay"}, "spec.delay"),
    ({"action": "netem", "loss": {"loss": "0"}}, "spec.delay"),
    ({"action": "bandwidth"}, "spec.bandwidth"),
    ({"action": "loss", "loss": {"loss": "num"}}, "spec.loss.loss"),
    ({"action": "loss", "loss": {"loss": "101"}}, "spec.loss.loss"),
    ({"action": "loss", "loss": {"loss": "-1"}}, "spec.loss.loss"),
    ({"action": "loss", "loss": {"loss": "nan"}}, "spec.loss.loss"),
    ({"action": "loss", "loss": {"loss": "10", "correlation": "num"}}, "spec.loss.correlation"),
    ({"action": "duplicate", "duplicate": {"duplicate": "num"}}, "spec.duplicate.duplicate"),
    ({"action": "corrupt", "corrupt": {"corrupt": "num"}}, "spec.corrupt.corrupt"),
    ({"action": "delay", "delay": {"latency": "1S"}}, "spec.delay.latency"),
    ({"action": "delay", "delay": {"latency": "61s"}}, "spec.delay.latency"),
    ({"action": "delay", "delay": {"latency": "1s", "jitter": "2h"}}, "spec.delay.jitter"),
    ({"action": "delay", "delay": {"latency": "1s", "reorder": {"reorder": "num", "gap": 5}}},
     "spec.delay.reorder.reorder"),
    ({"action": "netem", "rate": {"rate": "10"}}, "spec.rate.rate"),
    ({"action": "netem", "rate": {"rate": "0kbit"}}, "spec.rate.rate"),
    ({"action": "bandwidth", "bandwidth": {"rate": "10 cpbs", "limit": 1, "buffer": 1}}, "spec.bandwidth.rate"),
    ({"action": "bandwidth", "bandwidth": {"rate": "1mbit", "limit": 1, "buffer": 1, "peakrate": 5}},
     "spec.bandwidth.minburst"),
    ({"action": "delay", "delay": DELAY, "direction": "from"}, "spec.direction"),
    ({"action": "delay", "delay": DELAY, "direction": "both"}, "spec.direction"),
    ({"action": "loss", "loss": {"loss": "1"}, "direction": "from", "externalTargets": ["8.8.8.8"]}, "spec.direction"),
    ({"action": "partition", "target": {"mode": "fixed", "value": "0", "selector": {}}}, "spec.target.value"),
    ({"action": "partition", "target": {"mode": "fixed-percent", "value": "101", "selector": {}}}, "spec.target.value"),
    ({"action": "partition", "externalTargets": ["8.8.8.8", "8.8.8.8:0"]}, "spec.externalTargets[1]"),
    ({"action": "partition", "externalTargets": ["8.8.8.888"]}, "spec.externalTargets[0]"),
    ({"action": "partition", "externalTargets": ["10.0.0.0/33"]}, "spec.externalTargets[0]"),
    ({"action": "partition", "externalTargets": ["2001:db8::1"]}, "spec.externalTargets[0]"),
    ({"action": "partition", "externalTargets": ["a b"]}, "spec.externalTargets[0]"),
    ({"action": "partition", "externalTargets": ["x; reboot"]}, "spec.externalTargets[0]"),
])
def test_a_wrong_field_is_named(spec: Json, field: str) -> None:
    assert list(mistakes(**spec)) == [field]


@pytest.mark.parametrize("direction", ["to", "from", "both"])
def test_a_partition_may_have_any_direction(direction: str) -> None:
    assert not mistakes(action="partition", direction=direction)
    assert not mistakes(action="partition", direction=direction, externalTargets=["8.8.8.8"])
    assert not mistakes(action="partition", direction=direction, target={"mode": "all", "selector": {}})


@pytest.mark.parametrize(("text", "rate"), [
    ("1mbit", 1_000_000), ("  10   mbPs  ", 80_000_000), ("100kbps", 800_000), ("8bit", 8), ("1gbit", 10**9)])
def test_a_rate_is_read_as_tc_reads_it(text: str, rate: int) -> None:
    assert bits_per_s(text) == rate


def test_all_that_is_given_counts_whichever_the_action_names() -> None:
    spec = {"action": "delay", "delay": DELAY, "loss": {"loss": "25"}, "bandwidth": {"rate": "1mbit"}}
    assert set(effect_of(spec)) == {"delay", "loss"}
    assert effect_of({**spec, "action": "partition"}) == {"drop": True}


# --- who is met where

POD_ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
SERVICE = "10.1.0.1"


def met(flows_of: dict[str, list[Json]], sender: str, receiver: str, *, client_sends: bool, service: bool) -> int:
    """How often a packet is met by the rules of all pods. Behind a Service, the client's end sees the Service's address
    in the server's place, as the gateway makes it."""
    client = sender if client_sends else receiver
    count = 0
    for pod, hook, other in ((sender, "out", receiver), (receiver, "in", sender)):
        seen = SERVICE if service and pod == client else other
        serves = pod != client
        for flow in flows_of.get(pod, []):
            if flow["hook"] == hook and (serves or flow["side"] != "server"):
                count += flow["peers"] is None or any(peer["cidr"] == f"{seen}/32" for peer in flow["peers"])
    return count


def all_flows(spec: Json, selected: set[str], targets: set[str]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for key, pods in ((SELECTED, selected), (PEERS, targets)):
        for pod in pods:
            found.setdefault(pod, []).extend(network_flows.flows(spec, key, Ends(pod, selected, targets)))
    return found


@given(st.sets(st.sampled_from(POD_ADDRESSES), min_size=1), st.sets(st.sampled_from(POD_ADDRESSES), min_size=1),
       st.sampled_from(["to", "from", "both"]))
def test_with_a_target_each_packet_is_met_once_on_every_path(
    selected: set[str], targets: set[str], direction: str,
) -> None:
    found = all_flows({"action": "delay", "direction": direction, "target": TARGET}, selected, targets)
    for sender, receiver in itertools.permutations(POD_ADDRESSES, 2):
        to, back = sender in selected and receiver in targets, sender in targets and receiver in selected
        wanted = (to and direction != "from") or (back and direction != "to")
        for client_sends, service in itertools.product((True, False), repeat=2):
            assert met(found, sender, receiver, client_sends=client_sends, service=service) == wanted


@given(st.sets(st.sampled_from(POD_ADDRESSES), min_size=1), st.sets(st.sampled_from(POD_ADDRESSES), min_size=1),
       st.sampled_from(["to", "from", "both"]))
def test_a_partition_meets_what_it_should_at_least_once_and_nothing_else(
    selected: set[str], targets: set[str], direction: str,
) -> None:
    found = all_flows({"action": "partition", "direction": direction, "target": TARGET}, selected, targets)
    for sender, receiver in itertools.permutations(POD_ADDRESSES, 2):
        to, back = sender in selected and receiver in targets, sender in targets and receiver in selected
        wanted = (to and direction != "from") or (back and direction != "to")
        for client_sends, service in itertools.product((True, False), repeat=2):
            count = met(found, sender, receiver, client_sends=client_sends, service=service)
            assert (count > 0) == wanted
        assert all(flow["side"] == "" for flows in found.values() for flow in flows)  # standing connections too


@pytest.mark.parametrize(("action", "direction", "hooks"), [
    ("delay", "to", ["out"]), ("partition", "to", ["out"]), ("partition", "from", ["in"]),
    ("partition", "both", ["in", "out"])])
def test_without_peers_all_packets_of_the_pod_are_meant(action: str, direction: str, hooks: list[str]) -> None:
    found = network_flows.flows({"action": action, "direction": direction}, SELECTED, Ends("10.0.0.1", {"10.0.0.1"}))
    assert [(flow["hook"], flow["peers"], flow["device"], flow["side"]) for flow in found] == [
        (hook, None, "eth0", "") for hook in hooks]


def test_devices_are_those_of_the_pods_they_are_named_for() -> None:
    spec = {"action": "delay", "target": TARGET, "device": "net1@if7", "targetDevice": "net2"}
    ends = {SELECTED: Ends("10.0.0.1", {"10.0.0.1"}, {"10.0.0.2"}), PEERS: Ends("10.0.0.2", {"10.0.0.1"}, {"10.0.0.2"})}
    assert {key: network_flows.flows(spec, key, ends[key])[0]["device"] for key in ends} == {
        SELECTED: "net1", PEERS: "net2"}


def test_peers_outside_are_met_at_the_selected_pod_alone() -> None:
    spec = {"action": "partition", "direction": "both", "externalTargets": OUTSIDE}
    found = network_flows.flows(spec, SELECTED, Ends("10.0.0.1", {"10.0.0.1"}))
    assert [(flow["hook"], flow["side"], flow["names"]) for flow in found] == [
        (hook, "", ["www.google.com", "example.com:443"]) for hook in ("in", "out")]
    assert {"cidr": "10.0.0.0/8", "port": 22} in found[0]["peers"] and len(found[0]["peers"]) == 4
    assert network_flows.flows({**spec, "target": TARGET}, PEERS, Ends("10.0.0.2", {"10.0.0.1"}, {"10.0.0.2"})) != found


def test_in_the_simulated_world_an_effect_is_the_senders() -> None:
    spec = {"action": "delay", "direction": "to", "target": TARGET}
    selected, targets = {"10.0.0.1"}, {"10.0.0.2"}
    effect = effect_of({"action": "delay", "delay": {"latency": "1s"}})
    mine = simulated("box", effect, network_flows.sent(spec, SELECTED, Ends("10.0.0.1", selected, targets)))
    assert [(one.outgoing, one.incoming, one.peers[0].cidr, one.latency_s) for one in mine] == [
        (True, False, "10.0.0.2/32", 1.0)]
    assert simulated("box", effect, network_flows.sent(spec, PEERS, Ends("10.0.0.2", selected, targets))) == ()


# --- what proves it

BEFORE = Seen(8, 8, 0, 0.0001, 0.0002, 0.0004)
CHANCE = st.floats(0.01, 1).map(lambda share: {"share": share, "correlation": 0.0})
PROVABLE = st.fixed_dictionaries({}, optional={
    "loss": CHANCE, "duplicate": CHANCE, "corrupt": CHANCE,
    "delay": st.fixed_dictionaries({
        "latency_s": st.floats(0.005, 5), "jitter_s": st.floats(0, 5), "correlation": st.just(0.0)})})


@given(PROVABLE.filter(bool), st.integers(1, 2))
def test_a_fault_that_does_nothing_is_never_taken_for_one(effect: Json, passes: int) -> None:
    run = network_proof.run_for(effect, passes)
    nothing = Seen(run.count, run.count, 0, 0.0001, 0.0002, 0.0005)
    assert not network_proof.judge(effect, passes, BEFORE, nothing).holds
    assert not network_proof.judge({"drop": True}, passes, BEFORE, nothing).holds


@given(PROVABLE.filter(bool), st.integers(1, 2))
def test_a_fault_that_does_what_it_says_is_seen(effect: Json, passes: int) -> None:
    run = network_proof.run_for(effect, passes)
    received = round(run.count * (1 - network_proof.lost_share(effect, passes)))
    late_s = network_proof.late_s(effect, passes)
    doubled = round(received * (effect.get("duplicate") or {}).get("share", 0.0))
    seen = Seen(run.count, received, doubled, late_s, late_s + 0.0002, late_s) if received else Seen(run.count, 0)
    assume(not network_proof.too_rare(effect, passes, run))
    assert network_proof.judge(effect, passes, BEFORE, seen).holds


@given(st.floats(0, 5), st.floats(0, 5), st.integers(0, 1000))
def test_the_expected_delay_is_what_packets_meet(latency_s: float, jitter_s: float, seed: int) -> None:
    effect = {"delay": {"latency_s": latency_s, "jitter_s": jitter_s, "correlation": 0.0}}
    judged = load("packet_fate").Fate(effect, random.Random(seed))
    mean_s = sum(judged.of(0.0, 100)[0] for _ in range(2000)) / 2000
    assert mean_s == pytest.approx(network_proof.late_s(effect, 1), abs=0.08 * jitter_s + 1e-9)


@pytest.mark.parametrize("rate", [
    {"bits_per_s": 1_000_000}, {"bits_per_s": 10_000_000, "burst_bytes": 100_000, "limit_bytes": 1_000_000},
    {"bits_per_s": 50_000, "burst_bytes": 2_000, "limit_bytes": 100_000},
    {"bits_per_s": 800_000, "burst_bytes": 10_000, "limit_bytes": 100}])
def test_a_rate_shows_in_a_run_and_none_does_not(rate: Json) -> None:
    run = network_proof.run_for_rate(rate)
    bucket, wire = load("packet_fate").Bucket(rate), run.size + 42
    through = [due for due in (bucket.due(0.0, wire) for _ in range(run.count)) if due is not None]
    seen = Seen(run.count, len(through), 0, 0.0001, 0.0, max(through, default=0.0))
    assert network_proof.judge_rate(rate, run, BEFORE, seen).holds
    assert not network_proof.judge_rate(rate, run, BEFORE, Seen(run.count, run.count, 0, 0.0001, 0.001, 0.004)).holds


def test_ping_is_read_with_duplicates_and_without_answers() -> None:
    assert network_proof.read(
        "4 packets transmitted, 3 received, +2 duplicates, 25% packet loss, time 3ms\n"
        "rtt min/avg/max/mdev = 1.0/2.5/4.0/0.1 ms, pipe 2") == Seen(4, 3, 2, 0.001, 0.0025, 0.004)
    assert network_proof.read("5 packets transmitted, 0 received, 100% packet loss, time 9ms") == Seen(5, 0)
    with pytest.raises(ValueError, match="Network is unreachable"):
        network_proof.read("ping: connect: Network is unreachable")
