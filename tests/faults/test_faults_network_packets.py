"""What the tools image makes of packets: rules as text, arguments of tc, and the fate of one packet."""

from __future__ import annotations

import random
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.nettools import load as module

fate = module("packet_fate")
rules = module("packet_rules")
shaping = module("packet_shaping")
tracking = module("packet_tracking")

ALL_OUT = {"hook": "out", "device": "eth0", "side": "", "peers": None}
SHARES = st.floats(0, 1)
EFFECTS = st.fixed_dictionaries({}, optional={
    "loss": st.fixed_dictionaries({"share": SHARES, "correlation": SHARES}),
    "duplicate": st.fixed_dictionaries({"share": SHARES, "correlation": SHARES}),
    "corrupt": st.fixed_dictionaries({"share": SHARES, "correlation": SHARES}),
    "reorder": st.fixed_dictionaries({"share": SHARES, "correlation": SHARES, "gap": st.integers(0, 10)}),
    "delay": st.fixed_dictionaries({
        "latency_s": st.floats(0, 60), "jitter_s": st.floats(0, 60), "correlation": SHARES}),
    "rate": st.fixed_dictionaries({"bits_per_s": st.integers(1, 10**9)}) | st.fixed_dictionaries({
        "bits_per_s": st.integers(1, 10**9), "burst_bytes": st.integers(1, 10**6),
        "limit_bytes": st.integers(1, 10**6)}),
})
IDS = st.text("0123456789abcdef-", min_size=1, max_size=60)
FLOWS = st.lists(st.fixed_dictionaries({
    "hook": st.sampled_from(["in", "out"]), "device": st.just("eth0"), "side": st.sampled_from(["", "server"]),
    "peers": st.none() | st.lists(st.fixed_dictionaries({
        "cidr": st.ip_addresses(v=4).map(lambda one: f"{one}/32"), "port": st.integers(0, 65535)}), max_size=3)}),
    min_size=1, max_size=4)


# --- the fate of a packet


@given(EFFECTS, st.integers(0, 2**32), st.lists(st.tuples(st.floats(0, 0.1), st.integers(20, 1500)), max_size=40))
def test_a_packet_never_goes_on_before_it_came_and_at_most_twice(
    effect: dict, seed: int, packets: list[tuple[float, int]],
) -> None:
    judged, now = fate.Fate(effect, random.Random(seed)), 100.0
    for gap_s, size in packets:
        now += gap_s
        moments = judged.of(now, size)
        assert len(moments) <= 2 and all(due >= now for due in moments)


@given(SHARES, SHARES, st.integers(0, 2**32))
def test_a_share_stays_the_share_whatever_its_memory(share: float, correlation: float, seed: int) -> None:
    correlation = min(correlation, 0.9)
    chance = fate.Chance(random.Random(seed), {"share": share, "correlation": correlation})
    happened = sum(chance.happens() for _ in range(20_000)) / 20_000
    few = (20_000 * (1 - correlation) / (1 + correlation)) ** 0.5  # draws that count, under memory
    assert abs(happened - share) <= 5 * 0.5 / few + 1e-9


def test_memory_makes_runs_of_lost_packets() -> None:
    def runs(correlation: float) -> int:
        chance = fate.Chance(random.Random(1), {"share": 0.3, "correlation": correlation})
        row = [chance.happens() for _ in range(5000)]
        return sum(one != other for one, other in zip(row, row[1:], strict=False))

    assert runs(0.8) < runs(0.0) / 3


@given(st.floats(0, 0.2), st.floats(0, 0.2), st.integers(0, 2**32))
def test_a_jitter_stays_within_its_bounds_and_makes_no_delay_negative(
    latency_s: float, jitter_s: float, seed: int,
) -> None:
    judged = fate.Fate({"delay": {"latency_s": latency_s, "jitter_s": jitter_s}}, random.Random(seed))
    late = [judged.of(0.0, 100)[0] for _ in range(200)]
    assert all(max(0.0, latency_s - jitter_s) - 1e-9 <= one <= latency_s + jitter_s + 1e-9 for one in late)


def test_of_every_third_packet_one_passes_those_that_wait() -> None:
    judged = fate.Fate({"delay": {"latency_s": 1.0}, "reorder": {"share": 1.0, "gap": 3}}, random.Random(1))
    assert [judged.of(0.0, 100)[0] for _ in range(7)] == [1, 1, 0, 1, 1, 0, 1]


@given(st.integers(1000, 10**8), st.lists(st.integers(40, 1500), min_size=1, max_size=200), st.integers(2000, 10**5))
def test_a_rate_is_never_exceeded_over_any_time_but_by_its_burst(rate: int, sizes: list[int], burst: int) -> None:
    bucket = fate.Bucket({"bits_per_s": rate, "burst_bytes": burst})
    through = [(bucket.due(0.0, size), size) for size in sizes]
    total = 0
    for due, size in through:
        total += size
        assert total * 8 <= due * rate + burst * 8 + 1e-3


def test_what_finds_no_room_is_lost_and_a_packet_beyond_the_burst_never_passes() -> None:
    bucket = fate.Bucket({"bits_per_s": 8000, "burst_bytes": 1000, "limit_bytes": 2000})
    assert [bucket.due(0.0, 1000) for _ in range(4)] == [0.0, 1.0, 2.0, None]
    assert fate.Bucket({"bits_per_s": 8000, "burst_bytes": 1000, "limit_bytes": 5000}).due(0.0, 1001) is None
    assert fate.Bucket({"bits_per_s": 8000, "burst_bytes": 1000, "limit_bytes": 100}).due(0.0, 200) is None


@given(st.binary(min_size=28, max_size=200), st.integers(0, 2**32))
def test_a_corrupt_packet_differs_in_one_bit_behind_its_address(payload: bytes, seed: int) -> None:
    packet = b"\x45" + payload[1:]
    changed = fate.Fate({"corrupt": {"share": 1.0}}, random.Random(seed)).changed(packet)
    assert len(changed) == len(packet) and changed[:20] == packet[:20]
    assert sum((one ^ other).bit_count() for one, other in zip(packet, changed, strict=True)) == 1


# --- rules


def test_a_partition_is_the_kernels_and_silent_to_the_sender() -> None:
    text = rules.render("uid-0001", [ALL_OUT], {"drop": True}, 16)
    assert f"-j NFQUEUE --queue-num {rules.NOBODY}\n" in text and "DROP" not in text and "bypass" not in text


def test_a_loss_without_memory_is_the_kernels_and_one_with_it_the_readers() -> None:
    assert not rules.readers_effect({"loss": {"share": 0.2, "correlation": 0.0}})
    assert "--probability 0.200000000" in rules.render("a", [ALL_OUT], {"loss": {"share": 0.2}}, 16)
    kept = {"loss": {"share": 0.2, "correlation": 0.5}}
    assert rules.readers_effect(kept) == kept
    text = rules.render("a", [ALL_OUT], kept, 17)
    assert "statistic" not in text and "-j NFQUEUE --queue-num 1017 --queue-bypass\n" in text


def test_only_connections_that_the_pod_serves_are_met() -> None:
    peers = [{"cidr": "10.1.0.5/32", "port": 0}]
    text = rules.render("a", [{**ALL_OUT, "side": "server", "peers": peers},
                              {**ALL_OUT, "hook": "in", "side": "server", "peers": peers}], {"drop": True}, 16)
    assert "-o eth0 -d 10.1.0.5/32 -m conntrack --ctdir REPLY -g" in text
    assert "-i eth0 -s 10.1.0.5/32 -m conntrack --ctdir ORIGINAL -g" in text


def test_a_port_is_the_peers_own_on_either_way() -> None:
    peers = [{"cidr": "10.0.0.0/8", "port": 53}]
    assert rules.matches({**ALL_OUT, "peers": peers}) == [
        f" -d 10.0.0.0/8 -p {protocol} -m {protocol} --dport 53" for protocol in ("tcp", "udp")]
    assert "--sport 53" in rules.matches({**ALL_OUT, "hook": "in", "peers": peers})[0]


def test_a_flow_without_known_peers_meets_nothing() -> None:
    assert rules.matches({**ALL_OUT, "peers": []}) == []
    assert "-g" not in rules.render("a", [{**ALL_OUT, "peers": []}], {"drop": True}, 16)


@given(IDS, IDS, FLOWS, EFFECTS)
def test_what_is_put_in_is_taken_out_whole_and_nothing_else(one: str, other: str, flows: list, effect: dict) -> None:
    def standing(identity: str, bit: int) -> list[str]:
        lines = rules.render(identity, flows, effect, bit).splitlines()
        return [line for line in lines if line.startswith((":", "-A"))]

    mine, theirs = standing(one, 16), standing(other, 17)
    everything = [":PREROUTING ACCEPT [0:0]", *theirs, *mine] if one != other else mine
    taken = rules.removal(one, everything).splitlines()
    chains = {line.split()[0][1:] for line in mine if line.startswith(":")}
    assert {line[3:] for line in taken if line.startswith("-X")} == chains
    assert {line[3:] for line in taken if line.startswith("-F")} == chains
    jumps = [f"-D{line[2:]}" for line in mine if line.split()[1] in ("PREROUTING", "POSTROUTING")]
    assert [line for line in taken if line.startswith("-D")] == jumps
    assert rules.removal(one, theirs if one != other else []) == ""
    assert all(len(name) <= 28 for name in chains)


def test_each_injection_gets_a_bit_of_its_own_until_none_is_left() -> None:
    lines: list[str] = []
    for number in range(len(rules.BITS)):
        bit = rules.free_bit(f"i-{number}", lines)
        lines += rules.render(f"i-{number}", [ALL_OUT], {"loss": {"share": 0.1}}, bit).splitlines()
    assert rules.free_bit("i-3", lines) == 19  # its own rules, left by a holder that was killed, do not count
    with pytest.raises(OSError, match="at most 15"):
        rules.free_bit("one-more", lines)


def test_what_the_kernel_counted_is_read_of_this_injection_alone() -> None:
    mine, do = rules.chain("a", "out"), rules.chain("a", "do")
    lines = [f"[90:1] -A {mine} -o eth0 -g {do}", f"[9:1] -A {do} -m statistic -j NFQUEUE --queue-num {rules.NOBODY}",
             f"[80:1] -A {do} -j NFQUEUE --queue-num 1016 --queue-bypass",
             f"[7:1] -A {rules.chain('b', 'do')} -j NFQUEUE --queue-num {rules.NOBODY}"]
    assert rules.counted("a", lines) == {"met": 90, "lost": 9}


def test_a_table_is_empty_when_nobody_has_a_rule_or_a_chain_in_it() -> None:
    empty = ["*mangle", ":PREROUTING ACCEPT [0:0]", "COMMIT"]
    assert rules.is_empty(empty)
    assert not rules.is_empty([*empty, ":theirs - [0:0]"]) and not rules.is_empty([*empty, "-A PREROUTING -j ACCEPT"])


# --- tc


def test_netem_is_told_everything_in_its_own_order() -> None:
    effect = {"delay": {"latency_s": 0.09, "jitter_s": 0.01, "correlation": 0.25},
              "reorder": {"share": 0.5, "correlation": 0.5, "gap": 5}, "loss": {"share": 0.25, "correlation": 0.25},
              "duplicate": {"share": 0.4}, "corrupt": {"share": 0.001}, "rate": {"bits_per_s": 1_000_000}}
    kind, arguments = shaping.discipline(effect)
    assert kind == "netem" and " ".join(arguments) == (
        "limit 10000 delay 90000us 10000us 25.000000% reorder 50.000000% 50.000000% gap 5 "
        "loss 25.000000% 25.000000% duplicate 40.000000% corrupt 0.100000% rate 1000000bit")


def test_a_bandwidth_is_tbfs() -> None:
    kind, arguments = shaping.discipline({"rate": {
        "bits_per_s": 800_000, "burst_bytes": 10_000, "limit_bytes": 100, "peak_bits_per_s": 1_000_000,
        "peak_burst_bytes": 1_000_000}})
    assert kind == "tbf" and " ".join(arguments) == (
        "rate 800000bit burst 10000 limit 100 peakrate 1000000bit mtu 1000000")


@given(IDS, EFFECTS)
def test_arguments_of_tc_are_words_and_the_handle_is_one(identity: str, effect: dict) -> None:
    argv = shaping.add(identity, "eth0", *shaping.discipline(effect))
    assert all(isinstance(word, str) and word and " " not in word for word in argv)
    assert 1 <= int(shaping.handle(identity).rstrip(":"), 16) <= 0xFFFE
    assert shaping.handle(identity) in shaping.remove(identity, "eth0")


@pytest.mark.parametrize(("flows", "effect", "whole"), [
    ([ALL_OUT], {"loss": {"share": 0.1}}, True),
    ([ALL_OUT], {"drop": True}, False),
    ([{**ALL_OUT, "hook": "in"}], {"loss": {"share": 0.1}}, False),
    ([{**ALL_OUT, "peers": []}], {"loss": {"share": 0.1}}, False),
    ([ALL_OUT, ALL_OUT], {"loss": {"share": 0.1}}, False),
])
def test_a_discipline_holds_what_leaves_by_one_device_and_nothing_less(flows: list, effect: dict, whole: bool) -> None:
    assert module("packets").whole_device(flows, effect) is whole


# --- names, and connections that stand


def test_a_name_that_nobody_knows_is_told_and_a_flow_without_any_peer_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packets = module("packets")
    monkeypatch.setattr(packets, "addresses_of", lambda names: {"known.test": ["10.0.0.9"], "other.test": []})
    flow = {**ALL_OUT, "peers": [{"cidr": "8.8.8.8/32", "port": 0}], "names": ["known.test:443", "other.test"]}
    found, unknown = packets.resolved([flow])
    assert found[0]["peers"] == [{"cidr": "8.8.8.8/32", "port": 0}, {"cidr": "10.0.0.9", "port": 443}]
    assert unknown == ["other.test"]
    with pytest.raises(OSError, match=r"nobody here knows other\.test"):
        packets.resolved([{**ALL_OUT, "peers": [], "names": ["other.test"]}])


def test_who_listens_on_the_local_port_is_the_server() -> None:
    def line(local: str, remote: str, state: str) -> str:
        return f"   0: {local} {remote} {state} 00000000:00000000"

    def end(address: str, port: int) -> str:
        return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}:{port:04X}"

    table = "\n".join(["head", line(end("0.0.0.0", 80), end("0.0.0.0", 0), "0A"),
                       line(end("10.0.0.2", 80), end("10.0.0.3", 40000), "01"),
                       line(end("10.0.0.2", 50000), end("10.0.0.3", 5432), "01"),
                       line(end("10.0.0.2", 80), end("10.0.0.3", 40001), "06")])
    mapped = "\n".join(["head", line("0" * 32 + ":1F90", "0" * 32 + ":0000", "0A"),
                        line("0000000000000000FFFF0000" + end("10.0.0.2", 8080),
                             "0000000000000000FFFF0000" + end("10.0.0.4", 41000), "01"),
                        line("20010DB8000000000000000000000001:1F90", "20010DB8000000000000000000000002:A028", "01")])
    assert tracking.connections([table, mapped]) == [
        ("10.0.0.3", 40000, "10.0.0.2", 80), ("10.0.0.2", 50000, "10.0.0.3", 5432),
        ("10.0.0.4", 41000, "10.0.0.2", 8080)]
