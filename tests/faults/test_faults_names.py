"""DNSChaos without a network: which names are meant, what is answered, and that no packet is too strange."""

from __future__ import annotations

import random
import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import nettools

from faults.dns_chaos import DnsError, DnsRandom, a_name_of, means
from faults.protocol import NotInEffect

dns_packet = nettools.load("dns_packet")
names = nettools.load("names")

PATTERNS = [
    (["google.com"], "google.com", True), (["google.com"], "GOOGLE.com.", True),
    (["google.com"], "www.google.com", False),
    (["google.com"], "google.com.default.svc.cluster.local", False), (["google.com"], "google.co", False),
    (["github.*"], "github.com", True), (["github.*"], "github.", True), (["github.*"], "github", True),
    (["github.*"], "agithub.com", False), (["*"], "anything.at.all", True), (["*"], "", True),
    (["chaos-mes?.org"], "chaos-mesh.org", True), (["chaos-mes?.org"], "chaos-mes.org", False),
    (["chaos-mes?.org"], "chaos-messs.org", False), (["web?default.*"], "web.default.svc", True),
    (["a.b", "c.d"], "c.d", True), ([], "whatever", True), (["a.b."], "a.b", True), (["A.B"], "a.b", True),
]
LABEL = st.text("abcXYZ019-_", min_size=1, max_size=20)
NAME = st.lists(LABEL, min_size=1, max_size=6).map(".".join)


@pytest.mark.parametrize(("patterns", "name", "meant"), PATTERNS)
def test_which_names_are_meant(patterns: list[str], name: str, meant: bool) -> None:
    assert dns_packet.means(patterns, name) is meant
    assert means(patterns, name) is meant  # the chaos daemon judges as the holder does


@given(st.lists(st.text("ab.?-", max_size=6).flatmap(lambda text: st.sampled_from([text, text + "*"])), max_size=3),
       st.text("ab.-", max_size=8))
def test_holder_and_daemon_mean_the_same_names(patterns: list[str], name: str) -> None:
    assert dns_packet.means(patterns, name) is means(patterns, name.rstrip("."))


@given(st.text("ab-?.", min_size=1, max_size=12).filter(lambda text: text.strip(".") and ".." not in text),
       st.sampled_from(["", "*", ".*"]))
def test_the_name_that_proves_a_pattern_is_meant_by_it(stem: str, end: str) -> None:
    pattern = stem.strip(".") + end
    assert dns_packet.means([pattern], a_name_of(pattern))


@given(NAME, st.sampled_from([dns_packet.A, dns_packet.AAAA, 16]), st.integers(0, 0xFFFF))
def test_a_question_is_read_as_it_was_asked(name: str, kind: int, number: int) -> None:
    asked = dns_packet.question(dns_packet.query(number, name, kind))
    assert (asked.name, asked.kind, asked.number) == (name, kind, number)


@given(NAME, st.sampled_from([dns_packet.A, dns_packet.AAAA]), st.integers())
def test_answers_are_answers_to_the_question(name: str, kind: int, seed: int) -> None:
    query = dns_packet.query(77, name, kind)
    asked = dns_packet.question(query)
    for answer in (dns_packet.failure(asked), dns_packet.random_address(asked, random.Random(seed))):
        number, flags, questions = struct.unpack_from("!HHH", answer)
        assert (number, flags & 0x8000, questions) == (77, 0x8000, 1)
        assert answer[12:].startswith(query[12:])
        assert dns_packet.is_ours(answer)
    assert dns_packet.read_answer(dns_packet.failure(asked)) == (dns_packet.SERVFAIL, [])
    code, addresses = dns_packet.read_answer(dns_packet.random_address(asked, random.Random(seed)))
    assert code == dns_packet.NOERROR
    assert addresses[0].startswith(("198.18.", "198.19.") if kind == dns_packet.A else "2001:0db8:")


def test_other_kinds_of_questions_fail_under_random() -> None:
    asked = dns_packet.question(dns_packet.query(1, "a.b", 15))
    assert dns_packet.read_answer(dns_packet.random_address(asked, random.Random(1))) == (dns_packet.SERVFAIL, [])


def test_a_resolvers_own_failure_is_not_ours() -> None:
    asked = dns_packet.failure(dns_packet.question(dns_packet.query(1, "a.b", 1)))
    assert not dns_packet.is_ours(asked[:2] + b"\x81\x82" + asked[4:])


@pytest.mark.parametrize("message", [
    b"", b"\0" * 11, b"\0" * 12, b"\0\1\1\0\0\1" + b"\0" * 6, b"\0\1\1\0\0\1" + b"\0" * 6 + b"\xc0\x0c\0\1\0\1",
    b"\0\1\x81\0\0\1" + b"\0" * 6 + b"\1a\0\0\1\0\1", b"\0\1\x28\0\0\1" + b"\0" * 6 + b"\1a\0\0\1\0\1",
    b"\0\1\1\0\0\2" + b"\0" * 6 + b"\1a\0\0\1\0\1\1b\0\0\1\0\1", b"\0\1\1\0\0\1" + b"\0" * 6 + b"\x3fa",
    b"\0\1\1\0\0\1" + b"\0" * 6 + b"\1a" * 200 + b"\0\0\1\0\1",
], ids=["empty", "short", "no question", "cut", "pointer", "response", "update", "two", "label beyond", "too long"])
def test_what_is_no_plain_question_goes_to_the_resolver(message: bytes) -> None:
    assert dns_packet.question(message) is None


@given(st.binary(max_size=300))
def test_no_message_is_too_strange(message: bytes) -> None:
    asked = dns_packet.question(message)
    if asked is not None:
        assert dns_packet.question(dns_packet.failure(asked)) is None
    try:
        dns_packet.read_answer(message)
    except ValueError:
        pass


class Queue:
    """What the reader does to packets."""

    def __init__(self, packets: list[bytes]) -> None:
        self.packets, self.done = packets, []  # type: ignore[var-annotated]

    def received(self) -> list[tuple[int, int, int, bytes]]:
        return [(number, 3, 0, data) for number, data in enumerate(self.packets)]

    def drop(self, identity: int) -> None:
        self.done.append(("drop", identity))

    def pass_on(self, identity: int, mark: int) -> None:
        self.done.append(("pass", identity))

    def take(self, identity: int, mark: int) -> None:
        self.done.append(("take", identity))


class Sent:
    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []

    def sendto(self, data: bytes, where: tuple[str, int]) -> None:
        self.sent.append((data, where))


def answering(patterns: list[str], answer: str = "error") -> tuple[object, Sent]:
    made, sent = object.__new__(names.Answering), Sent()
    made.__dict__.update(_patterns=patterns, _random_answer=answer == "random", _random=random.Random(1), _raw=sent,
                         _level=SimpleNamespace(passed=1))
    return made, sent


def datagram(payload: bytes, *, options: bytes = b"", protocol: int = 17) -> bytes:
    size = 20 + len(options)
    header = struct.pack("!BBHHHBBH4s4s", 0x40 | size // 4, 0, size + 8 + len(payload), 0, 0, 64, protocol, 0,
                         bytes((10, 0, 0, 7)), bytes((10, 0, 0, 1)))
    return header + options + struct.pack("!HHHH", 40000, 53, 8 + len(payload), 0) + payload


@pytest.mark.parametrize("options", [b"", b"\1" * 8])
def test_a_meant_question_is_answered_in_the_resolvers_name_and_the_rest_passes(options: bytes) -> None:
    meant, other = dns_packet.query(5, "a.b", 1), dns_packet.query(6, "c.d", 1)
    reader, sent = answering(["a.b"])
    queue = Queue([datagram(meant, options=options), datagram(other, options=options), datagram(b"", protocol=6)])
    reader.read(queue)  # type: ignore[attr-defined]
    assert queue.done == [("drop", 0), ("pass", 1), ("take", 2)]
    [(reply, where)] = sent.sent
    assert where == ("10.0.0.7", 0)
    assert reply[12:20] == bytes((10, 0, 0, 1, 10, 0, 0, 7))
    assert struct.unpack_from("!HH", reply, 20) == (53, 40000)
    assert dns_packet.read_answer(reply[28:]) == (dns_packet.SERVFAIL, [])


@given(st.lists(st.binary(max_size=120), max_size=5))
def test_every_packet_gets_one_verdict(packets: list[bytes]) -> None:
    reader, _ = answering([])
    queue = Queue(packets)
    reader.read(queue)  # type: ignore[attr-defined]
    assert [number for _, number in queue.done] == list(range(len(packets)))


@pytest.mark.parametrize("pattern", ["chaos-*.org", "*.org", "a b", "", "a*b*", "ä.de", "a/b"])
def test_a_pattern_that_can_mean_nothing_is_refused_with_its_place(pattern: str) -> None:
    [mistake] = DnsError().mistakes({"patterns": ["github.*", pattern]})
    assert mistake.field == "spec.patterns[1]"


def test_the_patterns_of_chaos_meshs_example_are_taken() -> None:
    assert DnsRandom().mistakes({"patterns": ["google.com", "chaos-mesh.*", "github.?om"]}) == ()


def test_an_answer_of_the_resolver_itself_is_no_effect() -> None:
    met = {"code": 2, "addresses": [], "forged": False, "resolver": "10.0.0.2", "ms": 1.0}
    with pytest.raises(NotInEffect, match="itself"):
        DnsError().shown("a.b", met)
    assert "server failure" in DnsError().shown("a.b", {**met, "forged": True})
    with pytest.raises(NotInEffect):
        DnsRandom().shown("a.b", {**met, "forged": True})
