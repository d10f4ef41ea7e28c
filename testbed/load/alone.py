"""A load test on its own: what ``testbed load`` does. An experiment whose method is to wait while load runs.

So the report, the objectives and the exit codes are an experiment's, and a fault can be injected meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from testbed.errors import InvalidInput, Mistake
from testbed.experiment.documents import Document
from testbed.experiment.embedded import check_fault
from testbed.experiment.field_mistakes import pydantic_mistakes
from testbed.experiment.kind import API_VERSION, KIND, Experiment
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.objectives_asked import objectives_of
from testbed.load.locustfiles import examine_locustfile
from testbed.load.profile import parse_stage

DEFAULT_RATE = 100.0
RATE_BESIDE_LOCUST = 20.0  # enough to see an outage of a fifth of a second, too little to be the load
_INJECT_AT = 0.25  # of the duration: healthy load before, and time to recover after
# The option that stands for a field of the experiment; fields of several pulses and steps without their numbers.
_OPTIONS = {
    "runs": "--runs", "seed": "--seed", "namespace": "--namespace", "method.wait": "--for", "method.at": "--inject-at",
    "load.pulse.rate": "--rate", "load.pulse.startRate": "--rate",
    "load.pulse.port": "--port", "load.pulse.deadline": "--deadline",
    "load.pulse.path": "--path", "load.pulse.status": "--status", "load.locust.port": "--port",
    "load.locust.users": "--users", "load.locust.spawnRate": "--spawn-rate", "load.locust.processes": "--processes",
    "load.locust.workers.expect": "--workers", "load.locust.workers.bind": "--bind",
}

Json = dict[str, Any]


@dataclass(frozen=True)
class LoadTest:
    """What is asked for.

    Attributes:
        service: the Service that is loaded. port: its first when None. also: more Services, each with a pulse alike.
        rate: requests per second of the pulse; None: a default; 0: no pulse (then a locustfile is needed).
        stages: how the rate changes, each ``<duration>:<target>`` as k6's ``--stage``; `rate` is where it starts.
        asking: other fields of the pulse as an experiment has them (``protocol``, ``method``, ``headers``, ...).
        locustfile: realistic users beside the pulse. processes, workers: fields of ``load.locust``.
        faults: fault objects that are injected meanwhile. inject_at_s: when; None: after a quarter of the time.
    """

    service: str
    duration_s: float
    port: int | None = None
    also: tuple[str, ...] = ()
    rate: float | None = None
    stages: tuple[str, ...] = ()
    asking: Mapping[str, Any] = field(default_factory=dict)
    deadline_s: float = 1.0
    locustfile: Path | None = None
    users: int = 10
    spawn_rate: float = 10.0
    processes: int | None = None
    workers: Mapping[str, Any] | None = None
    faults: tuple[Json, ...] = ()
    inject_at_s: float | None = None
    objectives: tuple[str, ...] = ()
    runs: int = 1
    seed: int = 0
    namespace: str = "default"


def load_test(test: LoadTest) -> LoadedExperiment:
    """The experiment that a load test is.

    Raises: InvalidInput with all mistakes of flags, faults, objectives and the locustfile.
    """
    if test.locustfile is not None:
        examine_locustfile(test.locustfile)
    document = Document(_document(test), "load")
    mistakes: list[Mistake] = []
    for fault in test.faults:
        mistakes += check_fault(Document(fault, "fault"), ())
    try:
        experiment = Experiment.model_validate(document.value)
    except ValidationError as error:
        wrong = [_of_option(mistake) for mistake in pydantic_mistakes(error, Experiment, document)]
        raise InvalidInput([*wrong, *mistakes]) from error
    objectives = objectives_of(experiment, lambda index, words, near: Mistake(
        f"{test.objectives[index]!r}: {words}", "objective", suggestion=near), mistakes)
    mistakes += [Mistake(f"{item.text!r}: a load test has no baseline; hold its result against one afterwards: "
                         "testbed compare", "objective") for item in objectives if item.needs_baseline]
    if experiment.spec.load.pulse is None and experiment.spec.load.locust is None:
        mistakes.append(Mistake("a rate of 0 without a locustfile is no load", "rate"))
    if mistakes:
        raise InvalidInput(mistakes)
    folder = test.locustfile.resolve().parent if test.locustfile else Path()
    files = (test.locustfile,) if test.locustfile else ()
    return LoadedExperiment(experiment, folder / "load", (), {}, objectives, files)


def _of_option(mistake: Mistake) -> Mistake:
    """A mistake of the experiment under the name of the option that stands for the field: nobody wrote a file."""
    option = _OPTIONS.get(re.sub(r"\[\d+\]", "", mistake.field.removeprefix("spec.")))
    return replace(mistake, field=option, file="") if option else mistake


def _document(test: LoadTest) -> Json:
    load: Json = {}
    if pulses := [_pulse(test, service) for service in (test.service, *test.also)] if test.rate != 0 else []:
        load["pulse"] = pulses if len(pulses) > 1 else pulses[0]
    if test.locustfile is not None:
        load["locust"] = {"file": test.locustfile.name, "users": test.users, "spawnRate": test.spawn_rate,
                          "service": test.service, "port": test.port, "processes": test.processes,
                          "workers": test.workers}
    at_s = test.inject_at_s if test.inject_at_s is not None else _INJECT_AT * test.duration_s
    steps: list[Json] = [{"name": "load", "at": 0, "wait": test.duration_s}]
    steps += [{"name": name, "at": at_s, "fault": fault}
              for name, fault in zip(_names(test.faults), test.faults, strict=True)]
    return {
        "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": f"load-{test.service}"[:63]},
        "spec": {"namespace": test.namespace, "load": load, "method": steps, "objectives": list(test.objectives),
                 "runs": test.runs, "seed": test.seed, "observe": 1},
    }


def _pulse(test: LoadTest, service: str) -> Json:
    """Raises: InvalidInput when a stage is none."""
    rate = test.rate if test.rate is not None else RATE_BESIDE_LOCUST if test.locustfile else DEFAULT_RATE
    pulse: Json = {"service": service, "port": test.port, "deadline": test.deadline_s, **test.asking}
    if not test.stages:
        return pulse | {"rate": rate}
    try:
        stages = [parse_stage(text) for text in test.stages]
    except ValueError as error:
        raise InvalidInput([Mistake(str(error), "stage")]) from error
    return pulse | {"startRate": rate, "stages": [{"target": stage.target, "duration": stage.duration_s}
                                                  for stage in stages]}


def _names(faults: Sequence[Mapping[str, Any]]) -> list[str]:
    """A step's name for each fault: its own name, else its action, else its kind; numbered where they meet."""
    names: list[str] = []
    for fault in faults:
        own = (fault.get("metadata") or {}).get("name") or (fault.get("spec") or {}).get("action")
        name = str(own or fault.get("kind", "fault")).lower()
        count = sum(other == name or other.startswith(f"{name}-") for other in names)
        names.append(f"{name}-{count + 1}" if count or name == "load" else name)
    return names
