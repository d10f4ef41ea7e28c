"""HTTPChaos without a network: what a rule means, what an object may say, and which answers prove an effect."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import nettools

from faults import http_fields, http_proof
from faults.effects import Requests
from faults.http_chaos import HttpChaos
from faults.protocol import NotInEffect
from testbed.simulation.exchanges import Request, meant, on_answer

http_rule = nettools.load("http_rule")

Json = dict[str, Any]


# --- what a rule means

PATHS = [
    ("*", "/", True), ("*", "", True), ("/", "/", True), ("/", "/a", False), ("/a*", "/a", True),
    ("/a*", "/ab/c", True),
    ("/a?", "/a", False), ("/a?", "/ab", True), ("/a?", "/abc", False), ("/*/c", "/a/b/c", True), ("/*/c", "/c", False),
    ("*.js", "/x/y.js", True), ("*.js", "/x/y.jsx", False), ("/a**b", "/ab", True), ("", "", True), ("", "/", False),
    ("/[a]", "/[a]", True), ("/[a]", "/a", False), ("/A", "/a", False), ("/a.b", "/axb", False),
]


@pytest.mark.parametrize(("pattern", "path", "meant"), PATHS)
def test_which_paths_are_meant(pattern: str, path: str, meant: bool) -> None:
    assert http_rule.fits(pattern, path) is meant


def slow_fits(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(slow_fits(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and slow_fits(pattern[1:], text[1:])


@given(st.text("ab*?", max_size=7), st.text("ab", max_size=7))
def test_patterns_fit_as_their_plain_definition_says(pattern: str, text: str) -> None:
    assert http_rule.fits(pattern, text) is slow_fits(pattern, text)


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not http_rule.fits("*a" * 200 + "b", "a" * 5000)


REQUEST = (b"GET", b"/a/b?x=1", [(b"Host", b"web"), (b"X-Color", b"red"), (b"X-Color", b"blue")])
MEANT: list[tuple[Json, bool]] = [
    ({}, True), ({"path": "/a/*"}, True), ({"path": "/a/b?x=1"}, False), ({"path": "/c"}, False),
    ({"method": "GET"}, True),
    ({"method": "get"}, False), ({"method": "POST"}, False), ({"request_headers": {"x-color": "blue"}}, True),
    ({"request_headers": {"x-color": "Blue"}}, False), ({"request_headers": {"host": "web", "x-none": ""}}, False),
    ({"method": ""}, True), ({"code": 404}, True), ({"response_headers": {"a": "b"}}, True),  # responses only
]


@pytest.mark.parametrize(("rule", "meant"), MEANT)
def test_which_requests_are_meant(rule: Json, meant: bool) -> None:
    assert http_rule.means_request(http_rule.compiled({"target": "Request", **rule}), *REQUEST) is meant
    assert not http_rule.means_request(http_rule.compiled({"target": "Response", **rule}), *REQUEST)


@pytest.mark.parametrize(("rule", "meant"), [
    ({}, True), ({"code": 404}, True), ({"code": 200}, False), ({"response_headers": {"server": "x"}}, True),
    ({"response_headers": {"server": "y"}}, False), ({"path": "/c"}, False), ({"path": "/a/b", "code": 404}, True),
])
def test_which_responses_are_meant(rule: Json, meant: bool) -> None:
    made = http_rule.compiled({"target": "Response", **rule})
    assert http_rule.means_response(made, *REQUEST, 404, [(b"Server", b"x")]) is meant


@given(st.sampled_from(["Request", "Response"]), st.text("/ab*?[]", max_size=5).map(lambda text: "/" + text),
       st.sampled_from(["GET", "POST"]), st.sampled_from([200, 404]), st.sampled_from(["red", "blue"]))
def test_the_simulation_means_the_same(target: str, path: str, method: str, code: int, colour: str) -> None:
    rule = {"target": target, "path": path, "method": method, "code": code, "request_headers": {"X-Color": colour}}
    simulated, made = (Requests("s", 80, tuple(rule.items())),), http_rule.compiled(rule)
    for asked in ("/", "/a", "/ab", "/ab/a", "/[a]"):
        request, raw = Request("GET", asked, (("x-color", "red"),)), (b"GET", asked.encode(), [(b"X-Color", b"red")])
        assert bool(meant(simulated, "Request", request, None)) is http_rule.means_request(made, *raw)
        assert bool(meant(simulated, "Response", request, 200)) is http_rule.means_response(made, *raw, 200, [])


@pytest.mark.parametrize("body", ['{"a":1}', "[1]", "hello", ""])
def test_the_simulation_patches_the_same(body: str) -> None:
    rule = {"target": "Response", "patch": {"body": {"type": "JSON", "value": '{"b":{"c":null,"d":2}}'}}}
    answered = on_answer((Requests("s", 80, tuple(rule.items())),), Request("GET", "/"), 200, body)
    try:
        wanted = http_rule.new_body(http_rule.compiled(rule), body.encode())
    except http_rule.NotJson:
        assert answered.aborted
    else:
        assert json.loads(answered.body) == json.loads(wanted)


MERGED = [  # RFC 7396, appendix A
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'), ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'), ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'), ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'), ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"), ('{"a":"foo"}', '"bar"', '"bar"'), ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'), ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]


@pytest.mark.parametrize(("value", "change", "wanted"), MERGED)
def test_merge_patches(value: str, change: str, wanted: str) -> None:
    rule = http_rule.compiled({"target": "Response", "patch": {"body": {"type": "JSON", "value": change}}})
    assert json.loads(http_rule.new_body(rule, value.encode())) == json.loads(wanted)


@pytest.mark.parametrize("body", [b"", b"hello", b"\x1f\x8b\x08", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_is_not_patched(body: bytes) -> None:
    rule = http_rule.compiled({"target": "Response", "patch": {"body": {"type": "JSON", "value": "{}"}}})
    with pytest.raises(http_rule.NotJson):
        http_rule.new_body(rule, body)


TARGETS = [
    ({"replace": {"path": "/z"}}, b"/a?b=1", b"/z?b=1"), ({"replace": {"path": "/z"}}, b"http://h/a", b"http://h/z"),
    ({"replace": {"path": "/ä b"}}, b"/", b"/%C3%A4%20b"), ({"replace": {"queries": {"b": "2"}}}, b"/a?b=1", b"/a?b=2"),
    ({"replace": {"queries": {"c": "2"}}}, b"/a", b"/a?c=2"),
    ({"patch": {"queries": [["b", "2"]]}}, b"/a?b=1", b"/a?b=1&b=2"),
    ({"patch": {"queries": [["b", "x y"]]}}, b"/a", b"/a?b=x+y"), ({}, b"/a?", b"/a"), ({}, b"*", b"*"),
    ({"replace": {"path": "/z", "queries": {"a": "1"}}, "patch": {"queries": [["a", "2"]]}}, b"/", b"/z?a=1&a=2"),
    ({"replace": {"path": ""}}, b"/x", b"/"),
]


@pytest.mark.parametrize(("change", "target", "wanted"), TARGETS)
def test_targets(change: Json, target: bytes, wanted: bytes) -> None:
    assert http_rule.new_target(http_rule.compiled({"target": "Request", **change}), target) == wanted


@given(st.binary(max_size=40), st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2))
def test_no_target_is_too_strange(target: bytes, queries: dict[str, str]) -> None:
    rule = http_rule.compiled({"target": "Request", "replace": {"queries": queries}})
    assert b" " not in http_rule.new_target(rule, target.replace(b" ", b""))


# --- what an object may say

GOOD: Json = {"target": "Response", "port": 80, "abort": True}


@pytest.mark.parametrize("spec", [
    GOOD, {**GOOD, "path": "/api/*", "method": "GET", "code": 200},
    # chaos-mesh: examples/nginx/http-patch-response.yaml
    {"target": "Response", "port": 80, "path": "*",
     "patch": {"body": {"type": "JSON", "value": '{"status":"Failed","reason":"hacked by Chaos Mesh"}'}}},
    # chaos-mesh.org: simulate-http-chaos-on-kubernetes
    {"target": "Request", "port": 80, "method": "GET", "path": "/api", "abort": True},
    {"target": "Request", "port": 80, "path": "*",
     "patch": {"headers": [["Token", "<one token>"], ["Token", "<another>"]],
               "body": {"type": "JSON", "value": '{"foo": "bar"}'}}},
    {"target": "Response", "port": 80, "replace": {"body": "aGk=", "code": 404}},
    {**GOOD, "abort": None, "delay": "10s"},
])
def test_known_shapes_are_taken(spec: Json) -> None:
    assert HttpChaos().mistakes(spec) == ()


BAD: list[tuple[Json, str]] = [
    ({"tls": {"secretName": "a", "secretNamespace": "b", "certificateName": "c", "privateKeyName": "d"}}, "spec.tls"),
    ({"containerNames": ["web"]}, "spec.containerNames"), ({"method": "FETCH"}, "spec.method"),
    ({"path": "/a b"}, "spec.path"), ({"delay": "2h"}, "spec.delay"), ({"replace": {"method": "get"}},
    "spec.replace.method"),
    ({"replace": {"path": "x"}}, "spec.replace.path"), ({"replace": {"path": "/a\r\nX: y"}}, "spec.replace.path"),
    ({"replace": {"body": "?"}}, "spec.replace.body"), ({"replace": {"headers": {"a b": "c"}}}, "spec.replace.headers"),
    ({"patch": {"headers": [["a", "b\r\nc"]]}}, "spec.patch.headers"), ({"request_headers": {"": "x"}},
    "spec.request_headers"),
    ({"patch": {"body": {"type": "JSON", "value": "{"}}}, "spec.patch.body.value"), ({"abort": False}, "spec"),
    ({"abort": False, "replace": {"path": "/x"}}, "spec"), ({"abort": False, "delay": "0s"}, "spec"),
    ({"abort": False, "patch": {"queries": [["a", "b"]]}}, "spec"), ({"abort": False, "replace": {}}, "spec"),
]


@pytest.mark.parametrize(("change", "field"), BAD)
def test_what_is_wrong_is_named_by_its_place(change: Json, field: str) -> None:
    [mistake] = HttpChaos().mistakes({**GOOD, **change})
    assert mistake.field == field


# --- what proves an effect

ANSWERED: Json = {"how": "answered", "ms": 1.0, "code": 200, "headers": [["X-A", "1"]], "body": "hi"}
CLOSED: Json = {"how": "closed", "ms": 1.0}
SILENT: Json = {"how": "silent", "ms": 400.0}
SEEN: Json = {"direct": ANSWERED, "met": ANSWERED, "connections": 1, "requests": 1, "applied": 1, "rules": 4}
HI = base64.b64encode(b"hi").decode()
JUDGED: list[tuple[Json, Json, bool]] = [
    ({"abort": True}, {"met": CLOSED}, True), ({"abort": True}, {}, False),
    ({"delay": "10s"}, {"met": SILENT}, True), ({"delay": "10s"}, {}, False),
    ({"delay": "200ms"}, {"met": {**ANSWERED, "ms": 201.0}}, True), ({"delay": "200ms"}, {}, False),
    ({"replace": {"code": 503}}, {"met": {**ANSWERED, "code": 503}}, True), ({"replace": {"code": 503}}, {}, False),
    ({"replace": {"body": HI}}, {}, True), ({"replace": {"body": HI}}, {"met": {**ANSWERED, "body": "ho"}}, False),
    ({"replace": {"headers": {"x-a": "1"}}}, {}, True), ({"replace": {"headers": {"x-a": "2"}}}, {}, False),
    ({"patch": {"headers": [["x-b", "2"]]}}, {}, False), ({"patch": {"body": {"type": "JSON", "value": "{}"}}},
    {}, True),
    ({"patch": {"body": {"type": "JSON", "value": "{}"}}}, {"met": CLOSED}, True),  # what was there is no JSON
    ({"abort": True}, {"met": CLOSED, "rules": 1}, False), ({"abort": True}, {"met": CLOSED, "connections": 0}, False),
    ({"abort": True}, {"applied": 0}, False), ({"abort": True, "code": 404}, {"applied": 0}, True),
    ({"abort": True, "method": "POST"}, {"applied": 0}, True),
    ({"abort": True}, {"direct": {"how": "refused", "ms": 0.1}, "met": CLOSED, "applied": 0}, True),
]


@pytest.mark.parametrize(("rule", "seen", "proved"), JUDGED)
def test_which_answers_prove_an_effect(rule: Json, seen: Json, proved: bool) -> None:
    spec = {"target": "Response", "port": 80, **rule}
    if proved:
        assert http_proof.judge(spec, {**SEEN, **seen})
    else:
        with pytest.raises(NotInEffect):
            http_proof.judge(spec, {**SEEN, **seen})


@pytest.mark.parametrize(("spec", "method", "path"), [
    ({}, "GET", "/"), ({"path": "*"}, "GET", "/"), ({"path": "/api/*"}, "GET", "/api/"), ({"path": "/a?c"},
    "GET", "/aac"),
    ({"method": "HEAD"}, "HEAD", "/"), ({"method": "DELETE", "path": "/all"}, "GET", "/all"), ({"path": "*x"},
    "GET", "/x"),
])
def test_the_request_that_is_sent_does_no_harm(spec: Json, method: str, path: str) -> None:
    sent = http_proof.question(spec)
    assert (sent["method"], sent["path"]) == (method, path)


@given(st.text("/ab*?", max_size=8).map(lambda text: "/" + text))
def test_the_path_that_is_asked_for_is_meant(pattern: str) -> None:
    assert http_rule.fits(pattern, http_proof.question({"path": pattern})["path"])


def test_fields_are_chaos_meshs() -> None:
    assert set(http_fields.RULE) == {"target", "port", "path", "method", "code", "request_headers", "response_headers",
                                     "abort", "delay", "replace", "patch"}
