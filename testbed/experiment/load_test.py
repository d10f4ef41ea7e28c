"""A load test: what ``testbed load`` does. An experiment whose method is to wait, or to inject something meanwhile.

So a load test has the same report, the same objectives and the same exit codes as every experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from testbed.errors import InvalidInput, Mistake
from testbed.experiment.documents import Document
from testbed.experiment.embedded import check_fault
from testbed.experiment.kind import API_VERSION, Experiment
from testbed.experiment.loading import LoadedExperiment, pydantic_mistakes
from testbed.experiment.objectives import Misspelt, Objective, parse_objective

Json = dict[str, Any]


def load_test(
    service: str, *, duration_s: float, rate: float = 0.0, port: int | None = None, path: str = "/",
    deadline_s: float = 1.0, locustfile: Path | None = None, users: int = 10, spawn_rate: float = 10.0,
    namespace: str = "default", objectives: Sequence[str] = (), fault: Json | None = None, inject_at_s: float = 5.0,
    fault_name: str = "fault", seed: int = 0,
) -> LoadedExperiment:
    """The experiment that loads ``service`` for ``duration_s`` seconds.

    Args:
        rate: of the pulse in requests per second; 0: no pulse. locustfile: realistic load beside it, or alone.
        fault: injected ``inject_at_s`` seconds after the load is there, and undone at the end at the latest.

    Raises: InvalidInput with all mistakes.
    """
    load: Json = {}
    if rate > 0:
        load["pulse"] = {"service": service, "path": path, "rate": rate, "deadline": deadline_s,
                         **({"port": port} if port else {})}
    if locustfile is not None:
        load["locust"] = {"file": locustfile.name, "users": users, "spawnRate": spawn_rate, "service": service,
                          **({"port": port} if port else {})}
    method: list[Json] = [{"name": "load", "at": 0, "wait": duration_s}]
    if fault is not None:
        method.append({"name": fault_name, "at": inject_at_s, "fault": fault, "timeout": max(1.0, duration_s)})
    value = {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": {"name": f"load-{service}"[:63].rstrip("-")},
             "spec": {"namespace": namespace, "load": load, "method": method, "objectives": list(objectives),
                      "observe": 0, "jitter": 0, "seed": seed}}
    document = Document(value)
    mistakes: list[Mistake] = list(check_fault(document, ("spec", "method", 1, "fault"))) if fault is not None else []
    if not load:
        mistakes.append(Mistake("nothing loads it: give a rate or a locustfile"))
    if locustfile is not None and not locustfile.is_file():
        mistakes.append(Mistake("there is no such file", file=str(locustfile)))
    found = _objectives(objectives, [fault_name] if fault is not None else [], mistakes)
    try:
        experiment = Experiment.model_validate(value)
    except ValidationError as error:
        mistakes += pydantic_mistakes(error, Experiment, document)
        raise InvalidInput(mistakes) from None
    if mistakes:
        raise InvalidInput(mistakes)
    folder = locustfile.parent if locustfile is not None else Path()
    files = (locustfile,) if locustfile is not None else ()
    return LoadedExperiment(experiment, folder / "load", (), {}, found, files)


def _objectives(texts: Sequence[str], steps: Sequence[str], mistakes: list[Mistake]) -> tuple[Objective, ...]:
    found = []
    for text in texts:
        try:
            found.append(parse_objective(text, steps, 1))
        except ValueError as error:
            mistakes.append(Mistake(str(error), field=text,
                                    suggestion=error.suggestion if isinstance(error, Misspelt) else ""))
    return tuple(found)
