"""What fields of an experiment mean together: steps that wait for others, names that must be in the workload, who
writes what is asked for. Each finding is a mistake with its line; nothing here touches a cluster.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from testbed.errors import Mistake
from testbed.experiment.documents import Document, Location
from testbed.experiment.kind import MARKS, Experiment
from testbed.experiment.kind_load import PulseSpec
from testbed.experiment.manifests import near_kind, resource_of_kind
from testbed.experiment.objectives import Misspelt, parse_objective


def check_steps(experiment: Experiment, document: Document) -> Iterable[Mistake]:
    """Names are unique, what is waited for comes earlier, and what is asked for is there."""
    seen: list[str] = []
    for index, step in enumerate(experiment.spec.method):
        at: Location = ("spec", "method", index)
        if step.name in seen:
            yield document.mistake((*at, "name"), f"the name {step.name!r} stands twice")
        if step.after is not None:
            name, mark = step.awaited
            if name not in seen:
                near = difflib.get_close_matches(name, seen, n=1)
                yield document.mistake((*at, "after"), f"there is no earlier step {name!r}",
                                       suggestion=near[0] if near else "")
            if mark not in MARKS:
                near = difflib.get_close_matches(mark, MARKS, n=1)
                yield document.mistake((*at, "after"), f"{mark!r} is not a mark ({', '.join(MARKS)})",
                                       suggestion=near[0] if near else "")
        if step.if_ is not None:
            yield from _check_condition(step.if_, seen, document, (*at, "if"))
        targets = [pulse.called for pulse in experiment.spec.load.pulses]
        if step.pulse and step.pulse not in targets:
            near = difflib.get_close_matches(step.pulse, targets, n=1)
            yield document.mistake((*at, "pulse"), f"there is no pulse target {step.pulse!r}",
                                   suggestion=near[0] if near else "")
        if step.patch is not None and resource_of_kind(step.patch.kind) is None:
            yield document.mistake((*at, "patch", "kind"), f"unknown kind {step.patch.kind!r}",
                                   suggestion=near_kind(step.patch.kind))
        seen.append(step.name)


def _check_condition(text: str, earlier: list[str], document: Document, at: Location) -> Iterable[Mistake]:
    """What an ``if`` may ask: a value of one earlier step."""
    try:
        objective = parse_objective(text, earlier, 1)
    except ValueError as error:
        yield document.mistake(at, str(error), suggestion=error.suggestion if isinstance(error, Misspelt) else "")
        return
    if not objective.step or objective.needs_baseline:
        yield document.mistake(at, "must ask for a value of an earlier step: <step>.requests.failed.ratio < 1%")


def check_state(experiment: Experiment, document: Document) -> Iterable[Mistake]:
    """Somebody must write, and each write must be told from every other."""
    state = experiment.spec.state
    if state is None:
        return
    called = {pulse.called: pulse for pulse in experiment.spec.load.pulses}
    if not called:
        yield document.mistake(("spec", "state"), "needs load.pulse: somebody must write")
    elif state.pulse and state.pulse not in called:
        near = difflib.get_close_matches(state.pulse, called, n=1)
        yield document.mistake(("spec", "state", "pulse"), f"there is no pulse target {state.pulse!r}",
                               suggestion=near[0] if near else "")
    else:
        writer = called[state.pulse] if state.pulse else experiment.spec.load.pulses[0]
        if state.id not in writer.path + writer.body:
            yield document.mistake(("spec", "state", "id"), f"{state.id} stands neither in the path nor in the body of "
                                   f"pulse {writer.called!r}")


def check_names(
    experiment: Experiment, document: Document, manifests: tuple[dict[str, Any], ...]
) -> Iterable[Mistake]:
    """Deployments and Services that are named must be in the workload, where the experiment brings one."""
    if not manifests:
        return
    names = {kind: [str(item["metadata"]["name"]) for item in manifests if item.get("kind") == kind]
             for kind in {str(item.get("kind")) for item in manifests}}
    for kind, name, at in _named(experiment, document):
        if name and name not in names.get(kind, ()):
            near = difflib.get_close_matches(name, names.get(kind, ()), n=1)
            yield document.mistake(at, f"the workload has no {kind} {name!r}", suggestion=near[0] if near else "")


def _pulse_places(experiment: Experiment, document: Document) -> Iterable[tuple[Location, PulseSpec]]:
    """Every pulse target and where it stands: it may be alone, or one of a list."""
    spec = document.value.get("spec")
    load = spec.get("load") if isinstance(spec, Mapping) else None
    many = isinstance(load, Mapping) and isinstance(load.get("pulse"), list)
    for index, pulse in enumerate(experiment.spec.load.pulses):
        yield ("spec", "load", "pulse", *((index,) if many else ())), pulse


def _named(experiment: Experiment, document: Document) -> Iterable[tuple[str, str, Location]]:
    spec = experiment.spec
    for at, pulse in _pulse_places(experiment, document):
        yield "Service", pulse.service, (*at, "service")
        yield "Ingress", pulse.ingress, (*at, "ingress")
    if spec.load.locust is not None:
        yield "Service", spec.load.locust.service, ("spec", "load", "locust", "service")
    for index, condition in enumerate(spec.steady_state):
        body = getattr(condition, "json_" if condition.kind == "json" else condition.kind)
        for field, kind in (("service", "Service"), ("ingress", "Ingress"), ("deployment", "Deployment")):
            if hasattr(body, field):
                yield kind, getattr(body, field), ("spec", "steadyState", index, condition.kind, field)
    for part in ("stored", "backlog"):
        asked = getattr(spec.state, part, None)
        if asked is not None:
            yield "Service", asked.service, ("spec", "state", part, "service")
            yield "Ingress", asked.ingress, ("spec", "state", part, "ingress")
    for index, step in enumerate(spec.method):
        for part in ("rollout", "scale"):
            value = getattr(step, part)
            if value is not None:
                yield "Deployment", value.deployment, ("spec", "method", index, part, "deployment")
        patched = resource_of_kind(step.patch.kind) if step.patch is not None else None
        if step.patch is not None and patched is not None and patched.namespaced:  # a Node is in no workload
            yield step.patch.kind, step.patch.name, ("spec", "method", index, "patch", "name")
