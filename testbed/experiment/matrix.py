"""Sweeps values of manifests: ``livenessProbe.periodSeconds: [1, 5, 10]`` makes three workloads out of one. Pure.

A key names a field the way people say it: ``replicas``, ``livenessProbe.periodSeconds``, ``env.START_DELAY_S.value``.
It is set wherever it stands in the containers of the workloads, else in their pod templates, else in their specs; one
that stands nowhere is added at the first of these levels where the API has such a field. ``deployment/web:replicas``
means one object.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.errors import InvalidInput, Mistake
from testbed.experiment.documents import Document
from testbed.experiment.manifests import check_manifests

Json = dict[str, Any]
Manifests = tuple[Json, ...]
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod")
LEVELS = ("containers", "pod template", "spec", "object")


@dataclass(frozen=True)
class Setting:
    """One value of one key of a matrix."""

    key: str
    value: Any

    @property
    def short(self) -> str:
        """``periodSeconds=5``."""
        return f"{self.key.rpartition(':')[2].removesuffix('.value').rpartition('.')[2]}={self.value}"

    @property
    def long(self) -> str:
        return f"{self.key}={self.value}"


def combinations(matrix: Mapping[str, Sequence[Any]]) -> Iterator[tuple[Setting, ...]]:
    """Every choice of one value for each key, the last key fastest."""
    for values in itertools.product(*matrix.values()):
        yield tuple(Setting(key, value) for key, value in zip(matrix, values, strict=True))


def name_of(settings: Sequence[Setting]) -> str:
    """What a variant is called: short where that is clear."""
    short = [item.short for item in settings]
    clear = len({text.partition("=")[0] for text in short}) == len(short)
    return ", ".join(short if clear else [item.long for item in settings])


def with_settings(manifests: Manifests, settings: Iterable[Setting], document: Document) -> Manifests:
    """The workload with these values.

    Args: document: of the experiment, for the lines of what is wrong.

    Raises: InvalidInput when a key fits nowhere, or a value is refused.
    """
    for setting in settings:
        changed, problem = _with(manifests, setting)
        if changed is None:
            raise InvalidInput([_mistake(document, setting, problem)])
        manifests = changed
    return manifests


def _mistake(document: Document, setting: Setting, problem: str) -> Mistake:
    return document.mistake(("spec", "matrix", setting.key), f"{setting.value!r}: {problem}")


def _with(manifests: Manifests, setting: Setting) -> tuple[Manifests | None, str]:
    """The changed workload, or None and why not."""
    meant, _, path = setting.key.rpartition(":")
    steps = path.split(".")
    problem = "no object of the workload has or may have such a field"
    for standing in (True, False):
        for level in range(len(LEVELS)):
            changed = copy.deepcopy(manifests)
            places = [place for item in changed if _meant(item, meant) for place in _places(item)[level]
                      if not standing or steps[0] in place]
            done = [_put(place, steps, setting.value) for place in places]
            if not any(done):
                continue
            refused = _refused(changed)
            if not refused:
                return changed, ""
            if standing:
                return None, refused
    return None, problem


def _refused(manifests: Manifests) -> str:
    """What the API would not have; "" when nothing."""
    wrong = next(iter(check_manifests([Document(item) for item in manifests])), None)
    return f"{wrong.field}: {wrong.message}" if wrong else ""


def _meant(manifest: Json, selector: str) -> bool:
    if not selector:
        return manifest.get("kind") in WORKLOADS
    kind, _, name = selector.partition("/")
    return str(manifest.get("kind", "")).lower() == kind.lower() and manifest["metadata"]["name"] == name


def _places(manifest: Json) -> tuple[list[Json], list[Json], list[Json], list[Json]]:
    """The mappings of each level in which a key may begin."""
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        return [], [], [], [manifest]
    pod = spec if manifest.get("kind") == "Pod" else (spec.get("template") or {}).get("spec")
    containers = [*(pod.get("containers") or ()), *(pod.get("initContainers") or ())] if pod else []
    return containers, [pod] if pod else [], [spec], [manifest]


def _put(place: Json, steps: Sequence[str], value: Any) -> bool:
    """Sets the value; whether its way led there. A step through a list is an index or an item's name."""
    here: Any = place
    for step in steps[:-1]:
        if isinstance(here, list):
            here = _item(here, step)
        elif isinstance(here, dict):
            here = here.setdefault(step, {})
        if here is None:
            return False
    last = steps[-1]
    if isinstance(here, list):
        if not last.isdigit() or int(last) >= len(here):
            return False
        here[int(last)] = value
        return True
    if not isinstance(here, dict):
        return False
    here[last] = value
    return True


def _item(items: list[Any], step: str) -> Any:
    if step.isdigit():
        return items[int(step)] if int(step) < len(items) else None
    return next((item for item in items if isinstance(item, dict) and item.get("name") == step), None)
