"""The gateway's own half, without a container: the nftables text it makes of a state, and its answers to DNS."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gateway_modules import DNS, GATEWAY, RULES, SETTINGS
from hypothesis import given, settings
from hypothesis import strategies as st

Json = dict[str, Any]


def port(name: str = "default/web:http", number: int = 20, endpoints: int = 2, **more: Any) -> Json:
    return {"name": name, "address": f"10.9.128.{number}", "protocol": "tcp", "port": 80, "node_port": 0,
            "affinity_s": 0, "endpoints": [[f"10.9.1.{index + 1}", 8080] for index in range(endpoints)]} | more


def test_traffic_goes_to_a_random_endpoint() -> None:
    text, chains, _ = RULES.Ruleset(SETTINGS).render([port()])
    name, = chains
    assert f"chain {name} {{ meta l4proto tcp dnat ip addr . port to numgen random mod 2 map " \
           "{ 0 : 10.9.1.1 . 8080, 1 : 10.9.1.2 . 8080 }; }" in text
    assert f"add element ip testbed service_ips {{ 10.9.128.20 . tcp . 80 : jump {name} }}" in text


def test_service_without_endpoints_has_an_address_but_no_chain() -> None:
    text, chains, _ = RULES.Ruleset(SETTINGS).render([port(endpoints=0)])
    assert chains == {}
    assert "elements = { 10.9.128.20 }" in text and "add element ip testbed service_ips" not in text


def test_chains_that_are_no_longer_wanted_go_and_the_others_keep_their_name() -> None:
    rules = RULES.Ruleset(SETTINGS)
    _, chains, sets = rules.render([port(), port("default/old", 21)])
    rules.applied(chains, sets)
    text, after, _ = rules.render([port(endpoints=3)])
    gone = set(chains) - set(after)
    assert len(gone) == 1 and set(after) < set(chains)
    assert f"delete chain ip testbed {gone.pop()}" in text


def test_affinity_is_remembered_in_sets_that_outlive_a_change_of_endpoints() -> None:
    rules = RULES.Ruleset(SETTINGS)
    _, chains, sets = rules.render([port(affinity_s=60)])
    rules.applied(chains, sets)
    text, _, after = rules.render([port(affinity_s=60, endpoints=1)])
    assert set(after) < set(sets) and len(after) == 1
    assert text.count("delete set") == 1
    assert "flush set ip testbed aff" not in text


def test_another_time_of_affinity_is_another_memory() -> None:
    """nftables does not change a set's time."""
    rules = RULES.Ruleset(SETTINGS)
    _, chains, sets = rules.render([port(affinity_s=60)])
    rules.applied(chains, sets)
    text, _, after = rules.render([port(affinity_s=125)])
    assert not set(after) & set(sets) and text.count("delete set") == 2 and text.count("timeout 125s") == 2


def test_local_policy_goes_by_the_clients_address() -> None:
    """Pods to the endpoints of their node, dropped where it has none; this machine to all."""
    service = port(local=[["10.9.1.0/24", [["10.9.1.1", 8080]]]])
    text, _, _ = RULES.Ruleset(SETTINGS).render([service])
    name = RULES.chain_name(service)
    assert f"10.9.128.20 . tcp . 80 : jump {name}_in" in text
    inside = text.partition(f" chain {name}_in {{")[2].partition("}")[0].split("\n")
    assert [line.strip() for line in inside if line.strip()] == [
        f"ip saddr 10.9.1.0/24 goto {name}_on_10_9_1_0_24", f"ip saddr 10.9.0.1 goto {name}",
        "ip saddr 10.9.0.0/17 drop", f"goto {name}",
    ]


def test_load_balancer_has_addresses_of_its_own_and_lets_in_whom_it_may() -> None:
    service = port(external=["10.9.255.1"], sources=["10.9.1.0/24"])
    text, _, _ = RULES.Ruleset(SETTINGS).render([service])
    name = RULES.chain_name(service)
    assert f"10.9.255.1 . tcp . 80 : jump {name}_out" in text and f"10.9.128.20 . tcp . 80 : jump {name}," in text
    assert "elements = { 10.9.128.20, 10.9.255.1 }" in text
    assert f"ip saddr 10.9.1.0/24 goto {name}\n  drop" in text


def test_only_a_change_is_applied() -> None:
    applied: list[str] = []
    gateway = GATEWAY.Gateway(SETTINGS, applied.append, DNS.DnsServer(DNS.Zone("cluster.local"), []))
    assert gateway.handle({"op": "program", "revision": 1, "services": [port()], "records": {}})["changed"]
    answer = gateway.handle({"op": "program", "revision": 2, "services": [port()], "records": {}})
    assert not answer["changed"] and answer["revision"] == 2 and len(applied) == 1
    assert gateway.handle({"op": "status"}) == {"revision": 2, "programmed": True}


def test_state_that_nftables_refuses_is_not_taken_for_applied() -> None:
    def refuse(text: str) -> None:
        raise RuntimeError("no")

    gateway = GATEWAY.Gateway(SETTINGS, refuse, DNS.DnsServer(DNS.Zone("cluster.local"), []))
    for _ in range(2):
        with pytest.raises(RuntimeError):
            gateway.handle({"op": "program", "revision": 1, "services": [port()], "records": {}})
    assert not gateway.programmed


MORE = st.fixed_dictionaries({"affinity_s": st.sampled_from([0, 60, 61])}, optional={
    "local": st.sampled_from([[], [["10.9.1.0/24", [["10.9.1.1", 8080]]], ["10.9.1.9", [["10.9.1.1", 8080]]]]]),
    "external": st.sampled_from([["10.9.255.1"], []]), "sources": st.sampled_from([["0.0.0.0/0"], ["10.9.1.0/24"]]),
    "node_port": st.sampled_from([0, 30001]),
})
SERVICES = st.lists(
    st.builds(lambda name, number, endpoints, more: port(name, number, endpoints, **more),
              st.sampled_from(["a/a", "a/b", "b/c"]), st.integers(20, 23), st.integers(0, 3), MORE),
    max_size=4, unique_by=(lambda one: one["address"], lambda one: str(one.get("external") or one["address"]),
                           lambda one: one["node_port"] or one["address"]),
)


ONE_BY_ONE = """
import subprocess, sys
for file in sys.argv[1:]:
    subprocess.run(["nft", "-f", file], check=True)
"""


@pytest.mark.skipif(shutil.which("nft") is None or shutil.which("unshare") is None, reason="needs nft and unshare")
def test_any_sequence_of_states_is_one_that_nftables_takes(tmp_path: Path) -> None:
    """In a network namespace of its own; skipped where this user may not make one."""
    if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode:
        pytest.skip("may not make a network namespace")

    @settings(max_examples=20)
    @given(st.lists(SERVICES, min_size=2, max_size=6))
    def check(states: list[list[Json]]) -> None:
        rules = RULES.Ruleset(SETTINGS)
        files = []
        for index, services in enumerate(states):
            text, chains, sets = rules.render(services)
            rules.applied(chains, sets)
            files.append(tmp_path / f"{index}.nft")
            files[-1].write_text(text)
        done = subprocess.run(["unshare", "-n", sys.executable, "-S", "-c", ONE_BY_ONE, *map(str, files)], check=False,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    check()


# --- DNS


def query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"id" + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


ZONE = DNS.Zone("cluster.local", {
    "a": {"web.default.svc.cluster.local": ["10.9.128.20"],
          "db.default.svc.cluster.local": [f"10.9.1.{n}" for n in range(1, 60)]},
    "srv": {"_http._tcp.web.default.svc.cluster.local": [[80, "web.default.svc.cluster.local"]]},
    "cname": {"ext.default.svc.cluster.local": "example.org"},
    "ptr": {"20.128.9.10.in-addr.arpa": "web.default.svc.cluster.local"},
})


@pytest.mark.parametrize(("name", "kind", "code", "answers"), [
    ("web.default.svc.cluster.local", DNS.A, 0, 1),
    ("WEB.Default.svc.cluster.local", DNS.A, 0, 1),
    ("web.default.svc.cluster.local", DNS.AAAA, 0, 0),
    ("_http._tcp.web.default.svc.cluster.local", DNS.SRV, 0, 1),
    ("default.svc.cluster.local", DNS.A, 0, 0),
    ("nobody.default.svc.cluster.local", DNS.A, 3, 0),
    ("web.default.svc.cluster.local.cluster.local", DNS.A, 3, 0),
    ("ext.default.svc.cluster.local", DNS.A, 0, 1),
    ("20.128.9.10.in-addr.arpa", DNS.PTR, 0, 1),
    ("10-9-1-7.default.pod.cluster.local", DNS.A, 0, 1),
    ("not-an-address.default.pod.cluster.local", DNS.A, 3, 0),
])
def test_answers(name: str, kind: int, code: int, answers: int) -> None:
    answer = DNS.respond(query(name, kind), ZONE, 512)
    flags, _, count, _, _ = struct.unpack_from("!HHHHH", answer, 2)
    assert (flags & 0xF, count) == (code, answers)
    assert answer[:2] == b"id" and flags & 0x8000


def test_name_of_others_is_not_answered_here() -> None:
    assert DNS.respond(query("example.org", DNS.A), ZONE, 512) is None
    assert DNS.respond(query("notcluster.local", DNS.A), ZONE, 512) is None


def test_answer_that_is_too_long_says_so() -> None:
    answer = DNS.respond(query("db.default.svc.cluster.local", DNS.A), ZONE, 512)
    assert len(answer) <= 512 and struct.unpack_from("!H", answer, 2)[0] & 0x0200
    whole = DNS.respond(query("db.default.svc.cluster.local", DNS.A), ZONE, 65535)
    assert struct.unpack_from("!H", whole, 6)[0] == 59


@given(st.binary(min_size=12, max_size=80))
def test_no_packet_breaks_it(packet: bytes) -> None:
    answer = DNS.respond(packet, ZONE, 512)
    assert answer is None or answer[:2] == packet[:2]


async def test_external_name_is_followed_to_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def upstream(question: bytes, servers: list[str]) -> bytes:
        name, kind, end = DNS.read_question(question)
        assert (name, kind) == ("example.org", DNS.A)
        chain = b"\xc0\x0c" + struct.pack("!HHIH", DNS.CNAME, 1, 5, 6) + b"\x03www\xc0\x0c"
        address = b"\x03www\xc0\x0c" + struct.pack("!HHIH", DNS.A, 1, 5, 4) + bytes([192, 0, 2, 7])
        return question[:2] + struct.pack("!HHHHH", 0x8180, 1, 2, 0, 0) + question[12:end] + chain + address

    monkeypatch.setattr(DNS, "ask_upstream", upstream)
    answer = await DNS.DnsServer(ZONE, ["x"]).answer(query("ext.default.svc.cluster.local", DNS.A), 512)
    assert struct.unpack_from("!H", answer, 6)[0] == 2
    assert DNS.addresses_in(answer) == [bytes([192, 0, 2, 7])]


def test_upstream_servers_are_read() -> None:
    assert DNS.upstream_servers("search x\nnameserver 10.0.0.1\nnameserver fe80::1\nnameserver 8.8.8.8\n") == [
        "10.0.0.1", "8.8.8.8"]
