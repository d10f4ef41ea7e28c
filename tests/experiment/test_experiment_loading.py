"""Reading experiments: every mistake at once, with its line and field, and nothing that blows up."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from testbed.errors import InvalidInput, Mistake
from testbed.experiment.documents import read_text
from testbed.experiment.inject import injection
from testbed.experiment.loading import load_experiment
from testbed.experiment.schema import experiment_definition, experiment_schema, result_schema

EXAMPLES = sorted(file for file in (Path(__file__).parents[2] / "examples").glob("*.yaml")
                  if "kind: Experiment" in file.read_text())
GOOD = """\
apiVersion: testbed.io/v1alpha1
kind: Experiment
metadata: {name: good}
spec:
  workload: [web.yaml]
  load:
    pulse: {service: web, rate: 50}
  method:
    - name: crash
      at: 1s
      fault:
        apiVersion: chaos-mesh.org/v1alpha1
        kind: PodChaos
        spec: {action: pod-kill, mode: one, selector: {labelSelectors: {app: web}}}
    - name: ship
      after: crash.restored
      rollout: {deployment: web, image: "sample:v2"}
  objectives: ["crash.repair.median < 2s"]
"""
WEB = (Path(__file__).parents[2] / "examples" / "web.yaml").read_text()


def write(folder: Path, text: str, web: str = WEB) -> Path:
    (folder / "web.yaml").write_text(web)
    file = folder / "experiment.yaml"
    file.write_text(text)
    return file


def mistakes(folder: Path, text: str, web: str = WEB) -> list[Mistake]:
    with pytest.raises(InvalidInput) as caught:
        load_experiment(write(folder, text, web))
    assert caught.value.exit_code == 3
    return list(caught.value.mistakes)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_is_right(file: Path) -> None:
    loaded = load_experiment(file)
    assert loaded.experiment.spec.method
    assert loaded.objectives


def test_a_good_one(tmp_path: Path) -> None:
    loaded = load_experiment(write(tmp_path, GOOD), runs=3, seed=9, jitter_s=0.0)
    assert [step.name for step in loaded.experiment.spec.method] == ["crash", "ship"]
    assert loaded.experiment.spec.method[1].awaited == ("crash", "restored")
    assert (loaded.experiment.spec.runs, loaded.experiment.spec.seed, loaded.experiment.spec.jitter) == (3, 9, 0.0)
    assert [item["kind"] for item in loaded.manifests] == ["Service", "Deployment"]


@pytest.mark.parametrize(("change", "field", "line", "suggestion"), [
    (("rate: 50", "rat: 50"), "spec.load.pulse.rat", 7, "rate"),
    (("method:", "methods:"), "spec.methods", 8, "method"),
    (("at: 1s", "at: 1 sec"), "spec.method[0].at", 10, ""),
    (("PodChaos", "PodChoas"), "spec.method[0].fault.kind", 13, "PodChaos"),
    (("pod-kill", "pod-kil"), "spec.method[0].fault.spec.action", 14, "pod-kill"),
    (("labelSelectors", "labelSelector"), "spec.method[0].fault.spec.selector.labelSelector", 14, "labelSelectors"),
    (("after: crash", "after: crush"), "spec.method[1].after", 16, "crash"),
    (("crash.restored", "crash.restord"), "spec.method[1].after", 16, "restored"),
    (("deployment: web", "deployment: wep"), "spec.method[1].rollout.deployment", 17, "web"),
    (("service: web", "service: wbe"), "spec.load.pulse.service", 7, "web"),
    (("repair.median", "repiar.median"), "spec.objectives[0]", 18, "crash.repair.median"),
    (("repair.median", "repair.p95"), "spec.objectives[0]", 18, ""),
    (("< 2s", "< 2"), "spec.objectives[0]", 18, ""),
    (("[web.yaml]", "[wep.yaml]"), "spec.workload[0]", 5, "web.yaml"),
    (("kind: Experiment", "kind: Experimet"), "kind", 2, "Experiment"),
    (("name: ship", "name: crash"), "spec.method[1].name", 15, ""),
])
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, change: tuple[str, str], field: str, line: int, suggestion: str
) -> None:
    found = mistakes(tmp_path, GOOD.replace(*change, 1) if change[0] != "kind: Experiment" else GOOD.replace(*change))
    match = [item for item in found if item.field == field]
    assert match, found
    assert (match[0].line, match[0].suggestion) == (line, suggestion)
    assert match[0].file.endswith("experiment.yaml")


@pytest.mark.parametrize(("more", "field", "says"), [
    ("blastRadius: {pods: 120%}", "spec.blastRadius.pods", "a share from 1% to 100%"),
    ("blastRadius: {nodes: 0}", "spec.blastRadius.nodes", "a whole number from 1"),
    ("blastRadius: {node: 2}", "spec.blastRadius.node", "unknown field"),
    ("budget: {}", "spec.budget", "needs one of failedRequests, failedRatio, outage"),
    ("budget: {failedRatio: 120%}", "spec.budget.failedRatio", ""),
    ("budget: {outage: -1s}", "spec.budget.outage", ""),
])
def test_limits_that_are_none(tmp_path: Path, more: str, field: str, says: str) -> None:
    found = {item.field: item.message for item in mistakes(tmp_path, GOOD + f"  {more}\n")}
    assert says in found[field]


@pytest.mark.parametrize("runs", [0, -1, 1001, 100_000])
def test_a_number_is_judged_alike_in_a_file_and_on_the_command_line(tmp_path: Path, runs: int) -> None:
    in_file = mistakes(tmp_path, GOOD + f"  runs: {runs}\n")
    with pytest.raises(InvalidInput) as caught:
        load_experiment(write(tmp_path, GOOD.replace("rate: 50", "rat: 50")), runs=runs)
    given = {item.field: item for item in caught.value.mistakes}
    assert given["--runs"].message == in_file[0].message and given["--runs"].line == 0
    assert "spec.load.pulse.rat" in given  # all at once


@pytest.mark.parametrize(("change", "said"), [
    (("objectives: [\"crash.repair.median < 2s\"]", "objectives: text"), "spec.objectives: must be a list"),
    (("workload: [web.yaml]", "workload: {a: 1}"), "spec.workload: must be a list"),
    (("workload: [web.yaml]", "cluster: 3"), "spec.cluster: must be a mapping"),
    (("workload: [web.yaml]", "description: [a]"), "spec.description: must be a text"),
])
def test_a_wrong_shape_is_told_in_words_of_yaml(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert said in {f"{item.field}: {item.message}" for item in mistakes(tmp_path, GOOD.replace(*change))}


def test_an_empty_method_is_told_and_one_of_wrong_steps_is_not_called_empty(tmp_path: Path) -> None:
    head = GOOD.partition("  method:")[0]
    assert [str(item).partition(": ")[2] for item in mistakes(tmp_path, head + "  method: []\n")] == [
        "spec.method: needs at least 1"]
    only = head + "  method:\n    - {name: pause, wait: 1s, aftr: x}\n"
    assert [item.field for item in mistakes(tmp_path, only)] == ["spec.method[0].aftr"]


def test_an_injection_is_refused_in_words() -> None:
    fault = {"apiVersion": "testbed.io/v1alpha1", "kind": "NodeChaos",
             "spec": {"action": "kill", "mode": "one", "selector": {"nodes": ["a"]}, "duration": "5s"}}
    with pytest.raises(InvalidInput, match="spec.namespace"):
        injection(fault, namespace="X_Y")


def test_a_budget_needs_somebody_who_counts(tmp_path: Path) -> None:
    text = GOOD.replace("pulse: {", "locust: {file: none.py, users: 1} #") + "  budget: {failedRequests: 1}\n"
    assert any(item.field == "spec.budget" and "load.pulse" in item.message for item in mistakes(tmp_path, text))


@pytest.mark.parametrize("kind", ["Workflow", "StatusCheck", "PhysicalMachineChaos", "KernelChaos", "JVMChaos",
                                  "BlockChaos", "AWSChaos", "AzureChaos", "GCPChaos", "RemoteCluster"])
def test_kinds_that_are_left_out_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    """As the experiment itself, as a fault in it, and as a part of its workload."""
    obj = f"apiVersion: chaos-mesh.org/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{}}\n"
    inside = GOOD.replace("kind: PodChaos", f"kind: {kind}").replace("testbed.io/v1alpha1\n        kind", "x")
    for found in (mistakes(tmp_path, obj), mistakes(tmp_path, inside), mistakes(tmp_path, GOOD, WEB + "---\n" + obj)):
        assert any(f"{kind} of Chaos Mesh is left out: " in item.message for item in found), found


def test_a_fault_is_not_an_experiment(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="this is a fault") as refused:
        load_experiment(write(tmp_path, "apiVersion: testbed.io/v1alpha1\nkind: NodeChaos\nmetadata: {name: x}\n"))
    assert "testbed inject -f" in refused.value.hint


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("rate: 50", "rat: 50").replace("pod-kill", "pod-kil")
    text = text.replace('"sample:v2"', '"sample:v2", undo: true')
    fields = {item.field for item in mistakes(tmp_path, text)}
    assert {"spec.load.pulse.rat", "spec.method[0].fault.spec.action", "spec.method[1].rollout"} <= fields


def test_wrong_fields_do_not_hide_other_mistakes(tmp_path: Path) -> None:
    """One answer tells of fields, files, steps, faults, objectives and manifests."""
    text = GOOD.replace("rate: 50", "rte: 50").replace("[web.yaml]", "[web.yaml, wbe.yaml]").replace(
        "after: crash", "after: crsh").replace("pod-kill", "pod-kil").replace("crash.repair", "crash.repiar")
    found = {item.field: item.suggestion for item in mistakes(tmp_path, text, WEB.replace("port: 80", "port: 80000"))}
    assert found == {
        "spec.load.pulse.rte": "rate", "spec.workload[1]": "web.yaml", "spec.method[1].after": "crash",
        "spec.method[0].fault.spec.action": "pod-kill", "spec.objectives[0]": "crash.repair.median",
        "spec.ports[0].port": ""}


@pytest.mark.parametrize("part", ["method", "workload", "load", "steadyState", "objectives", "runs", "cluster"])
@pytest.mark.parametrize("value", [[5], [[5]], {"a": 5}, [{"a": 5}], [{"name": 5, "after": [], "apply": {}}], "text"])
def test_no_shape_of_a_part_blows_up(tmp_path: Path, part: str, value: object) -> None:
    experiment = read_text(GOOD)[0].value
    experiment["spec"] |= {part: value, "wrong": 1}
    with pytest.raises(InvalidInput):
        load_experiment(write(tmp_path, json.dumps(experiment)))


def test_a_misspelt_field_is_one_mistake(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("pulse: {service: web", "pulse: {servce: web"))
    assert [(item.field, item.suggestion) for item in found] == [("spec.load.pulse.servce", "service")]


def test_manifests_are_checked_too(tmp_path: Path) -> None:
    web = WEB.replace("readinessProbe", "readynessProbe").replace("kind: Service", "kind: Servce")
    found = {item.field: item for item in mistakes(tmp_path, GOOD, web)}
    assert found["kind"].suggestion == "Service"
    probe = found["spec.template.spec.containers[0].readynessProbe"]
    assert (probe.suggestion, Path(probe.file).name) == ("readinessProbe", "web.yaml")
    assert probe.line == WEB.splitlines().index("          readinessProbe:") + 1


def test_a_selector_that_its_template_does_not_match(tmp_path: Path) -> None:
    web = WEB.replace("labels: {app: web}", "labels: {app: wbe}")
    assert any("does not match template" in item.message for item in mistakes(tmp_path, GOOD, web))


def test_values_of_manifests_are_judged_beside_names_and_types(tmp_path: Path) -> None:
    web = WEB.replace("image:", "imagee:").replace("replicas: ", "replicas: x").replace("port: 80", "port: 80000")
    found = [item.field for item in mistakes(tmp_path, GOOD, web)]
    assert {"spec.template.spec.containers[0].imagee", "spec.replicas", "spec.ports[0].port"} <= set(found)
    assert "spec.template.spec.containers[0].image" not in found, "a misspelt field is one mistake, not two"


def test_objectives_on_requests_need_the_pulse(tmp_path: Path) -> None:
    text = GOOD.replace("  load:\n    pulse: {service: web, rate: 50}\n", "").replace(
        "crash.repair.median < 2s", "requests.failed == 0")
    assert any("load.pulse" in item.message for item in mistakes(tmp_path, text))


@pytest.mark.parametrize(("text", "part"), [
    ("a: 1\na: 2\n", "stands twice"),
    ("a: [1, 2\n", "not YAML"),
    ("a: &x [1]\n" + "b: " + "*y\n", "not YAML"),
    ("\t- a", "not YAML"),
])
def test_what_is_not_yaml(text: str, part: str) -> None:
    with pytest.raises(InvalidInput, match=part):
        read_text(text, "f.yaml")


def test_a_small_file_cannot_become_a_large_value() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(InvalidInput, match="aliases"):
        read_text("\n".join(lines))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(InvalidInput):
        read_text("a: " + "[" * 3000 + "]" * 3000)


def test_lines_are_those_of_the_file() -> None:
    document = read_text("a:\n  b:\n    - c: 1\n    - d: 2\n", "f")[0]
    assert document.line(("a", "b", 1, "d")) == 4
    assert document.line(("a", "b", 1, "nothing", "here")) == 4
    assert document.part(("a", "b")).line((0, "c")) == 3


def test_the_published_schema_accepts_the_examples() -> None:
    validator = jsonschema.Draft202012Validator(experiment_schema())
    for file in EXAMPLES:
        errors = list(validator.iter_errors(read_text(file.read_text())[0].value))
        assert not errors, errors


def test_the_published_schema_refuses_unknown_fields() -> None:
    validator = jsonschema.Draft202012Validator(experiment_schema())
    value = read_text(GOOD)[0].value
    assert validator.is_valid(value)
    value["spec"]["stedyState"] = []
    assert not validator.is_valid(value)


def test_schemas_and_the_definition_are_json() -> None:
    json.dumps([experiment_schema(), result_schema(), experiment_definition()])


STEPS = """\
    - name: canary
      patch: {kind: %s, name: web, merge: {spec: {selector: {app: web}}}}
    - name: promote
      if: %s
      rollout: {deployment: web, image: "sample:v2"}
"""


def with_steps(tmp_path: Path, kind: str, condition: str) -> Path:
    return write(tmp_path, GOOD[: GOOD.index("    - name: crash")] + STEPS % (kind, condition))


def test_a_step_patches_an_object_and_another_asks_how_it_went(tmp_path: Path) -> None:
    loaded = load_experiment(with_steps(tmp_path, "Service", "canary.requests.failed.ratio < 1%"))
    first, second = loaded.experiment.spec.method
    assert (first.kind, second.kind, second.if_) == ("patch", "rollout", "canary.requests.failed.ratio < 1%")


def test_what_no_workload_has_may_be_patched(tmp_path: Path) -> None:
    assert load_experiment(with_steps(tmp_path, "Node", "canary.requests.failed.ratio < 1%"))


@pytest.mark.parametrize(("kind", "condition", "told"), [
    ("Servis", "canary.requests.failed.ratio < 1%", "unknown kind 'Servis'"),
    ("Ingress", "canary.requests.failed.ratio < 1%", "the workload has no Ingress 'web'"),
    ("Service", "promote.requests.failed == 0", "is not a value of the result"),
    ("Service", "requests.failed == 0", "must ask for a value of an earlier step"),
    ("Service", "baseline.canary.repair.ratio <= 1.1", "must ask for a value of an earlier step"),
])
def test_wrong_patches_and_conditions_are_told(tmp_path: Path, kind: str, condition: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        load_experiment(with_steps(tmp_path, kind, condition))
    assert told in str(refused.value), refused.value


def test_a_load_has_one_target(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        load_experiment(write(tmp_path, GOOD.replace("{service: web, rate", "{service: web, ingress: web, rate")))
    assert "needs exactly one of service, ingress" in str(refused.value)
