"""What a person writes about faults: short names, ``--set``, the page of a fault; plain words for what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.abilities import names_in, unmet
from faults.fields import WrongField, leaves, put
from faults.left_out import KINDS, instead
from faults.naming import named, nearest, short_name
from faults.registry import Registry
from testbed.cli.fault_page import example, page
from testbed.errors import InvalidInput, UsageError
from testbed.experiment.documents import Document
from testbed.experiment.embedded import check_fault
from testbed.experiment.inject import Whom, annotate, fault_object, injection

FAULTS = Registry().faults()
WEB = Whom(labels={"app": "web"})
SCHEMA: dict[str, Any] = {"type": "object", "properties": {
    "delay": {"type": "object", "description": "How late.", "properties": {
        "latency": {"type": "string"}, "share": {"type": "number"}, "on": {"type": "boolean"}}},
    "port": {"type": "integer", "minimum": 1, "maximum": 9, "description": "Which."},
    "direction": {"type": "string", "enum": ["to", "from", "both"]},
    "methods": {"type": "array", "items": {"type": "string", "enum": ["READ", "WRITE"]}},
    "queries": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
    "rules": {"type": "array", "items": {"type": "object", "properties": {"key": {"type": "string"}}}},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "size": {"x-kubernetes-int-or-string": True}, "any": {"x-kubernetes-preserve-unknown-fields": True},
}}


def made(*settings: str) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    for setting in settings:
        path, _, text = setting.partition("=")
        put(spec, SCHEMA, path, text)
    return spec


@pytest.mark.parametrize(("settings", "spec"), [
    (["delay.latency=10ms", "delay.share=2.5"], {"delay": {"latency": "10ms", "share": 2.5}}),
    (["spec.port=5", "delay.on=true"], {"port": 5, "delay": {"on": True}}),
    (["methods=READ,WRITE"], {"methods": ["READ", "WRITE"]}),
    (["methods[0]=READ", "methods[1]=WRITE"], {"methods": ["READ", "WRITE"]}),
    (['queries=[["a","b"]]'], {"queries": [["a", "b"]]}),
    (["rules[0].key=a"], {"rules": [{"key": "a"}]}),
    (["labels.app.kubernetes.io/name=web"], {"labels": {"app.kubernetes.io/name": "web"}}),
    (['labels={"a": "b"}', "labels.c=d"], {"labels": {"a": "b", "c": "d"}}),
    (["size=5"], {"size": 5}), (["size=5MB"], {"size": "5MB"}), (["any.thing=1"], {"any": {"thing": "1"}}),
    (["delay.latency=a=b"], {"delay": {"latency": "a=b"}}), (["port=1", "port=2"], {"port": 2}),
])
def test_settings_get_their_place_and_type(settings: list[str], spec: dict[str, Any]) -> None:
    assert made(*settings) == spec


@pytest.mark.parametrize(("setting", "field", "says", "suggestion"), [
    ("delay.latenci=1", "spec.delay.latenci", "unknown field", "latency"),
    ("dely.latency=1", "spec.dely", "unknown field", "delay"),
    ("zzz=1", "spec.zzz", "there are any, delay, direction", ""),
    ("port=x", "spec.port", "a whole number, not 'x'", ""), ("delay.on=maybe", "spec.delay.on", "true or false", ""),
    ("delay.share=a", "spec.delay.share", "must be a number", ""),
    ("direction=bth", "spec.direction", "one of to, from, both", "both"),
    ("methods=READ,WRIT", "spec.methods[1]", "one of READ, WRITE", "WRITE"),
    ("methods[3]=READ", "spec.methods[3]", "before", ""), ("port.x=1", "spec.port", "has no 'x'", ""),
    ("labels=[1]", "spec.labels", "a map", ""), ("=1", "spec.", "like delay.latency", ""),
    ("[0]=1", "spec.[0]", "like delay.latency", ""), ("delay[0]=1", "spec.delay", "has no 0", ""),
])
def test_what_is_no_setting_names_the_field_and_what_may_be_there(
    setting: str, field: str, says: str, suggestion: str
) -> None:
    with pytest.raises(WrongField) as wrong:
        made(setting)
    assert (wrong.value.mistake.field, wrong.value.mistake.suggestion) == (field, suggestion)
    assert says in wrong.value.mistake.message


@given(st.lists(st.tuples(st.text("delaytncypor.[]0128=mhsk", max_size=14), st.text(max_size=6)), max_size=4))
def test_any_setting_is_taken_or_told(settings: list[tuple[str, str]]) -> None:
    spec: dict[str, Any] = {}
    for path, text in settings:
        try:
            put(spec, SCHEMA, path, text)
        except WrongField:
            continue
    json.dumps(spec)


def test_all_leaves_are_told_with_type_and_words() -> None:
    rows = dict((path, (kind, told)) for path, kind, told in leaves(SCHEMA))
    assert rows["port"] == ("integer 1 to 9", "Which.")
    assert rows["direction"] == ("to | from | both", "")
    assert rows["methods"] == ("list of READ | WRITE", "")
    assert rows["labels"] == ("map to string", "")
    assert rows["delay"] == ("object", "How late.")
    assert {"delay.latency", "rules[].key"} <= rows.keys()


# --- every fault that there is


def test_needs_name_abilities_that_can_be_tried() -> None:
    for fault in FAULTS:
        assert all(names_in(need) for need in fault.needs), fault.name


@pytest.mark.parametrize(("needs", "have", "missing"), [
    ((), {}, ()), (("fuse",), {"fuse": True}, ()), (("fuse",), {"fuse": False}, ("fuse",)), (("fuse",), {}, ()),
    (("netem or nfqueue",), {"netem": False, "nfqueue": True}, ()),
    (("netem or nfqueue", "tbf"), {"netem": False, "nfqueue": False, "tbf": True}, ("netem or nfqueue",)),
])
def test_a_need_is_unmet_when_nothing_of_it_is_there(
    needs: tuple[str, ...], have: dict[str, bool], missing: tuple[str, ...]
) -> None:
    assert unmet(needs, have) == missing


def test_short_names_are_unique_and_lead_back() -> None:
    names = [short_name(fault) for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert {"node-kill", "container-kill", "pod-failure", "freeze", "sham"} <= set(names)
    assert all(named(FAULTS, name) is fault and named(FAULTS, fault.name) is fault
               for name, fault in zip(names, FAULTS, strict=True))
    assert nearest(FAULTS, "node-kil") == "node-kill" and named(FAULTS, "nothing") is None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_page_of_a_fault_has_its_fields_and_an_example_without_mistakes(fault: Any) -> None:
    text = page(fault, "yes")
    assert fault.summary in text and all(field in text for field in fault.fields)
    assert list(check_fault(Document(example(fault)), ())) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_can_be_tried_by_its_name_alone(fault: Any) -> None:
    made = fault_object(short_name(fault), Whom(labels={"app": "web"}, containers=("web",)))
    if fault.level not in ("container",) and fault.name != "PodChaos/container-kill":
        made["spec"].pop("containerNames")
    annotate(made)
    injection(made)


def test_settings_replace_the_example() -> None:
    spec = fault_object("pod-kill", WEB, settings=["gracePeriod=5"])["spec"]
    assert spec == {"action": "pod-kill", "mode": "one", "gracePeriod": 5,
                    "selector": {"namespaces": ["default"], "labelSelectors": {"app": "web"}}}
    with pytest.raises(InvalidInput, match=r"spec.gracePeriod: must be a whole number"):
        fault_object("pod-kill", WEB, settings=["gracePeriod=soon"])
    with pytest.raises(UsageError, match="path=value"):
        fault_object("pod-kill", WEB, settings=["gracePeriod"])


def test_nodes_are_named_by_themselves_or_by_their_zone() -> None:
    assert fault_object("node-kill", Whom(nodes=("node-1",)))["spec"]["selector"] == {"nodes": ["node-1"]}
    zone = fault_object("node-kill", Whom(zone="a"))["spec"]["selector"]
    assert zone == {"nodeSelectors": {"topology.kubernetes.io/zone": "a"}}
    with pytest.raises(UsageError) as refused:
        fault_object("node-kill", Whom())
    assert "--zone" in refused.value.hint


def test_flags_become_annotations_and_a_seed_is_drawn() -> None:
    fault: dict[str, Any] = {"metadata": {"annotations": None}}
    annotate(fault, max_pods="100%", max_nodes="2", follow=True)
    notes = fault["metadata"]["annotations"]
    assert notes.pop("testbed.io/seed")
    assert notes == {"testbed.io/max-pods": "100%", "testbed.io/max-nodes": "2", "testbed.io/follow": "true"}
    annotate(fault, seed="7")
    assert fault["metadata"]["annotations"]["testbed.io/seed"] == "7"


def test_what_is_left_out_names_what_to_use_instead() -> None:
    assert all(instead("chaos-mesh.org/v1alpha1", kind).startswith(f"{kind} of Chaos Mesh is left out: ")
               for kind in KINDS)
    assert instead("chaos-mesh.org/v1alpha1", "PodChaos") == "" == instead("argoproj.io/v1alpha1", "Workflow")
