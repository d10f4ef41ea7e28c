"""What is decided about the stack that watches a cluster: ports, containers, files, what Prometheus says, images."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.api import labels
from testbed.api.instance import Instance
from testbed.errors import EnvironmentProblem, Mistake
from testbed.machines import monitoring_plan as plan
from testbed.machines.monitoring_images import have_images
from testbed.machines.monitoring_plan import ALERTMANAGER, GRAFANA, PARTS, PROMETHEUS, Order, Site, Wishes
from testbed.machines.monitoring_seen import alerts, mistakes, targets, telling
from testbed.machines.narration import Silent
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.images import Progress, silent
from testbed.runtime.recipes import Recipe

USUAL = {PROMETHEUS: 9090, ALERTMANAGER: 9093, GRAFANA: 3000}
IMAGES = {part.name: part.image for part in PARTS}
INSTANCE = Instance("shop", "7e57c0ffee01", Path("/state/shop"), "10.99.0.0/16", 29990, ())
SITE = Site("shop", Path("/state/shop"), (1000, 100))


# --- ports


def settle(asked: dict[str, int], kept: dict[str, int], taken: Iterable[int]) -> plan.Ports:
    occupied = set(taken)

    def another(others: set[int]) -> int:
        return next(port for port in range(20000, 30000) if port not in others | occupied)

    return plan.settle_ports(PARTS, asked, kept, lambda port: port not in occupied, another)


def test_the_usual_ports_are_taken_where_they_are_free() -> None:
    assert settle({}, {}, []) == plan.Ports(USUAL)


def test_where_a_usual_port_is_taken_another_is_chosen_and_said() -> None:
    settled = settle({}, {}, [9090, 20000])
    assert settled.chosen == {**USUAL, PROMETHEUS: 20001}
    assert settled.notes == ("port 9090 is taken: Prometheus gets 20001",)


def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_one_that_is_free() -> None:
    with pytest.raises(EnvironmentProblem, match="port 9999 is taken, Alertmanager") as caught:
        settle({ALERTMANAGER: 9999}, {}, [9999])
    assert caught.value.hint == "this one is free: --alertmanager-port 20000"


def test_what_runs_keeps_its_port_though_that_is_taken_by_itself() -> None:
    assert settle({}, {PROMETHEUS: 20007}, [20007]).chosen[PROMETHEUS] == 20007
    assert settle({PROMETHEUS: 9999}, {PROMETHEUS: 20007}, [20007]).chosen[PROMETHEUS] == 9999


PORT_MAPS = st.dictionaries(st.sampled_from(sorted(USUAL)), st.sampled_from([3000, 9090, 9093, 20000, 20001]))


@given(asked=PORT_MAPS, kept=PORT_MAPS, taken=st.sets(st.sampled_from([3000, 9090, 9093, 20000])))
def test_no_two_parts_get_one_port_and_none_a_strangers(
    asked: dict[str, int], kept: dict[str, int], taken: set[int]
) -> None:
    try:
        chosen = settle(asked, kept, taken | set(kept.values())).chosen
    except EnvironmentProblem as error:
        assert error.hint.startswith("this one is free: --")
        return
    assert len(set(chosen.values())) == len(PARTS)
    assert all(chosen[part] == port for part, port in asked.items())
    assert all(port not in taken or kept.get(part) == port for part, port in chosen.items())


# --- containers and their files


def planned(instance: Instance | None = INSTANCE, rules: str = "groups: []", **wishes: str) -> dict[str, ContainerSpec]:
    ports = {part.name: USUAL[part.name] for part in Order(SITE, instance, IMAGES).parts}
    written = plan.files(instance, ports, {"0-rules.yml": rules}, {"overview.json": "{}"})
    order = Order(SITE, instance, IMAGES, Wishes(**wishes))
    return {spec.labels[labels.MONITORING]: spec
            for spec in plan.specs(order, INSTANCE.id, ports, written)}


@pytest.mark.parametrize("part", sorted(USUAL))
def test_a_part_belongs_to_its_cluster_and_is_reached_from_this_machine_only(part: str) -> None:
    spec = planned()[part]
    assert spec.labels[labels.INSTANCE] == INSTANCE.id and spec.labels[labels.INSTANCE_NAME] == "shop"
    assert spec.labels[labels.ROLE] == labels.ROLE_MONITORING
    assert spec.labels[labels.ADDRESS] == f"127.0.0.1:{USUAL[part]}"
    assert spec.network == "host" and not spec.ports
    listens = [word for word in spec.args or () if "listen-address" in word]
    if part == GRAFANA:
        assert ("GF_SERVER_HTTP_ADDR", "127.0.0.1") in spec.env
    else:
        assert f"--web.listen-address=127.0.0.1:{USUAL[part]}" in listens
    assert all(word.partition("=")[2].startswith("127.0.0.1:") or word == "--cluster.listen-address="
               for word in listens), "no other door"


@pytest.mark.parametrize("part", sorted(USUAL))
def test_a_part_may_nothing_that_its_user_may_not(part: str) -> None:
    spec = planned()[part]
    assert spec.user == "1000:100" and spec.cap_drop == ("ALL",) and not spec.cap_add and not spec.privileged
    assert spec.read_only_root
    writable = {mount.source for mount in spec.mounts if not mount.read_only} - {""}
    assert writable == {f"/state/shop/monitoring/{part}"}


def test_the_token_is_a_file_that_is_mounted_where_it_is_needed_and_nowhere_else() -> None:
    specs = planned()
    for part in (PROMETHEUS, ALERTMANAGER):
        (mount,) = [mount for mount in specs[part].mounts if mount.source == "/state/shop/token"]
        assert mount.read_only
        text = plan.files(INSTANCE, USUAL, {}, {})[f"{part}.yml"]
        assert mount.target in text, "it is found where the configuration says"
    assert not [mount for mount in specs[GRAFANA].mounts if "token" in mount.source]


def test_nobody_can_log_in_to_grafana() -> None:
    environment = dict(planned()[GRAFANA].env)
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true" and environment["GF_AUTH_BASIC_ENABLED"] == "false"


def test_of_a_cluster_that_is_gone_nothing_is_scraped_and_no_credentials_are_needed() -> None:
    specs = planned(None)
    assert set(specs) == {PROMETHEUS, GRAFANA}
    assert labels.INSTANCE_NAME not in specs[PROMETHEUS].labels, "`testbed up` of that name is not hindered"
    written = plan.files(None, {PROMETHEUS: 9090}, {}, {})
    assert "scrape_configs" not in json.loads(written["prometheus.yml"])
    assert not [mount for mount in specs[PROMETHEUS].mounts if "token" in mount.source or "ca.crt" in mount.source]
    assert str(SITE.data(PROMETHEUS)) in {mount.source for mount in specs[PROMETHEUS].mounts}


def test_a_part_is_another_one_only_when_something_that_it_reads_has_changed() -> None:
    def made_of(specs: dict[str, ContainerSpec]) -> dict[str, str]:
        return {part: spec.labels[labels.SPEC_HASH] for part, spec in specs.items()}

    first = made_of(planned())
    assert made_of(planned()) == first

    def changed(specs: dict[str, ContainerSpec]) -> set[str]:
        return {part for part, digest in made_of(specs).items() if digest != first[part]}

    assert changed(planned(rules="groups: [] # changed")) == {PROMETHEUS}
    assert changed(planned(retention_time="1d")) == {PROMETHEUS}
    assert changed(planned(replace(INSTANCE, api_port=29991))) == {PROMETHEUS, ALERTMANAGER}


def test_prometheus_finds_alertmanager_and_grafana_finds_prometheus() -> None:
    written = plan.files(INSTANCE, {PROMETHEUS: 1, ALERTMANAGER: 2, GRAFANA: 3}, {}, {})
    assert "127.0.0.1:2" in written["prometheus.yml"]
    assert "http://127.0.0.1:1" in written["grafana/datasources/testbed.yml"]


# --- what Prometheus says


def test_targets_and_alerts_are_read_as_prometheus_gives_them() -> None:
    found = targets({"status": "success", "data": {"activeTargets": [
        {"labels": {"instance": "shop", "job": "testbed", "part": "api"}, "scrapeUrl": "https://127.0.0.1:1/metrics",
         "health": "up", "lastError": ""},
        {"labels": {"part": "agent", "node": "node-1"}, "scrapeUrl": "u", "health": "down", "lastError": "refused"},
        {"labels": {}, "scrapeUrl": "v", "health": "unknown"}]}})
    assert [(target.part, target.node, target.up, target.error) for target in found] == [
        ("", "", False, ""), ("agent", "node-1", False, "refused"), ("api", "", True, "")]
    told = alerts({"data": {"alerts": [
        {"labels": {"alertname": "Slow"}, "state": "pending", "activeAt": "2026-01-01T00:00:00.123456789Z"},
        {"labels": {"alertname": "Down", "deployment": "web"}, "annotations": {"summary": "No replica"},
         "state": "firing", "activeAt": "2026-01-01T00:00:01Z"}]}})
    assert [(alert.name, alert.state, dict(alert.labels), alert.summary) for alert in told] == [
        ("Down", "firing", {"deployment": "web"}, "No replica"), ("Slow", "pending", {}, "")]


@pytest.mark.parametrize(("said", "line", "message"), [
    (r'/r/a.yml: 5:11: group \"x\", rule 1, \"y\": could not parse expression: 1:5: parse error', 5,
     'group "x", rule 1, "y": could not parse expression: 1:5: parse error'),
    (r"/r/a.yml: yaml: line 2: did not find expected key", 2, "did not find expected key"),
    (r"/r/a.yml: yaml: unmarshal errors:\n  line 3: field rulez not found in type rulefmt.RuleGroup", 3,
     "field rulez not found in type rulefmt.RuleGroup"),
    (r'/r/a.yml: not a valid duration string: \"3x\"', 0, 'not a valid duration string: "3x"'),
])
def test_a_broken_rule_file_is_named_as_the_person_named_it_with_its_line(said: str, line: int, message: str) -> None:
    """Lines of Prometheus 2.42; 3 writes the same in `msg=... err="..."`. It says each twice."""
    log = f'level=error component="rule manager" msg="loading groups failed" err="{said}"\n'
    last = 'level=error err="error loading config from \\"/etc/p.yml\\": one or more errors"\n'
    assert mistakes(log + log + last, {"/r/a.yml": "mine.yml"}) == (Mistake(message, file="mine.yml", line=line),)
    assert mistakes(log + last, {"/r/b.yml": "other.yml"}) == ()


def test_of_a_log_the_errors_are_told_or_else_its_end() -> None:
    lines = [f"level=info number={number}" for number in range(50)]
    assert telling(lines).splitlines() == lines[-8:]
    assert telling([*lines[:5], 'level=error err="in use"', *lines[5:]]) == 'level=error err="in use"'


# --- images


class Registry:
    """An engine's images, and what a registry has of more."""

    def __init__(self, present: Iterable[str], pullable: Iterable[str] = ()) -> None:
        self.images, self.pullable = set(present), set(pullable)
        self.asked: list[str] = []
        self.built: list[str] = []

    def present(self, reference: str) -> bool:
        return reference in self.images

    def missing(self, recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
        return tuple(recipe for recipe in recipes if recipe.tag not in self.images)

    def pull(self, reference: str) -> bool:
        self.asked.append(reference)
        return reference in self.pullable

    def base(self, progress: Progress = silent) -> str:
        return "base"

    def build(self, recipe: Recipe, base: str, progress: Progress = silent) -> None:
        self.built.append(recipe.tag)


PUBLIC = [part.image for part in PARTS]
OWN = [part.own_image for part in PARTS if part.own_image]


@pytest.mark.parametrize(("present", "pullable", "used", "asked"), [
    (PUBLIC, [], PUBLIC, []),
    ([], PUBLIC, PUBLIC, PUBLIC),
    ([], [], OWN, PUBLIC[:1]),
    (OWN, [], OWN, PUBLIC[2:]),
    ([*OWN, PUBLIC[2]], [], [*OWN, PUBLIC[2]], []),
    (PUBLIC[:1], [], [PUBLIC[0], OWN[1]], PUBLIC[1:2]),
])
def test_public_images_where_they_can_be_had_else_debians_programs_and_one_vain_question_is_enough(
    present: list[str], pullable: list[str], used: list[str], asked: list[str]
) -> None:
    source = Registry(present, pullable)
    had = have_images(PARTS, source, Silent())
    assert list(had.images.values()) == used and source.asked == asked
    assert source.built == [image for image in used if image not in present and image in OWN]
    assert len(had.left_out) == len(PARTS) - len(used)
    assert all("Grafana is left out" in line and "\n" not in line for line in had.left_out)


def test_public_images_are_pinned_and_own_ones_carry_our_name() -> None:
    for part in PARTS:
        assert part.image.rpartition(":")[2][-1].isdigit(), part.image
        assert part.own_image.startswith("testbed-") or not part.own_image
