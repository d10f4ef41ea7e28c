"""What of an experiment the simulation plays, and how: the experiment as it is run there, and what was changed.

Applications are not simulated, their behaviour towards probes and clients is: the sample application's
(`runtime.simulated_behaviour`), for images that are ours and for all others. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

OUR_IMAGES = ("sample:v1", "sample:v2", "sample:broken")
SAMPLE = "sample"
START_S = "simulation.testbed.io/start-s"  # of a pod template: until its containers are ready, seconds
DRAIN_S = "simulation.testbed.io/drain-s"  # from SIGTERM until they end
NOT_PLAYED = {"TLS_DIR": "no certificate is read, every TLS handshake succeeds"}  # of the sample's variables
_AS_VARIABLES = {START_S: "START_DELAY_S", DRAIN_S: "DRAIN_S"}
DEFAULTS = "ready 50 ms after its start, ends 2 s after SIGTERM, answers every path with 200"


def without_what_has_no_twin(experiment: Json) -> tuple[Json, list[str]]:
    """The experiment (as JSON) without what only exists outside the simulation."""
    played, notes = copy.deepcopy(experiment), []
    spec = played["spec"]
    spec.pop("matrix", None)  # its values are in the manifests by now
    if (spec.get("load") or {}).pop("locust", None) is not None:
        notes.append("Locust has no simulated twin: its users are left out")
    conditions = spec.get("steadyState") or []
    kept = [condition for condition in conditions if "promql" not in condition]
    if len(kept) < len(conditions):
        spec["steadyState"] = kept
        notes.append("there is no Prometheus in the simulation: promql conditions are left out")
    return played, notes


def images_in(experiment: Json, manifests: Iterable[Json]) -> tuple[str, ...]:
    """Every image that may be run."""
    found = [container["image"] for manifest in manifests for template in _templates(manifest)
             for container in _containers(template) if container.get("image")]
    found += [step["rollout"]["image"] for step in experiment["spec"]["method"]
              if (step.get("rollout") or {}).get("image")]
    return tuple(dict.fromkeys(map(str, found)))


def is_foreign(image: str) -> bool:
    """One that is no image of ours. ``sample`` with an unknown tag is ours, and not there: here as on an engine."""
    return image.partition("@")[0].rpartition(":")[0] not in (SAMPLE, *_own_names()) and image not in OUR_IMAGES


def _own_names() -> tuple[str, ...]:
    return "testbed-pause", "testbed-gateway", "testbed-nettools", "testbed-node", "testbed-registry"


def played_manifests(manifests: Iterable[Json]) -> tuple[Json, ...]:
    """Each as the simulation applies it: foreign images play the sample application on the port that they declare."""
    return tuple(_played(manifest) for manifest in manifests)


def _played(manifest: Json) -> Json:
    played = copy.deepcopy(manifest)
    for template in _templates(played):
        annotations = (template.get("metadata") or {}).get("annotations") or {}
        told = [{"name": name, "value": str(annotations[key])} for key, name in _AS_VARIABLES.items()
                if key in annotations]
        for container in _containers(template):
            if is_foreign(str(container.get("image", ""))):
                _play_sample(container)
            _set(container, told)
    return played


def _play_sample(container: Json) -> None:
    container.pop("command", None)
    container.pop("args", None)
    ports = [item.get("containerPort") for item in container.get("ports") or ()]
    wanted = [{"name": "PORT", "value": str(ports[0])}] if ports else []
    if "9090" in map(str, ports[:1]):
        wanted.append({"name": "GRPC_PORT", "value": "0"})
    _set(container, wanted)


def _set(container: Json, variables: Iterable[Json]) -> None:
    for variable in variables:
        others = [item for item in container.get("env") or () if item.get("name") != variable["name"]]
        container["env"] = [*others, variable]


def _templates(manifest: Json) -> list[Json]:
    """Everything in it that pods are made from."""
    if manifest.get("kind") == "Pod":
        return [manifest]
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        return []
    if isinstance(spec.get("jobTemplate"), dict):
        spec = spec["jobTemplate"].get("spec") or {}
    template = spec.get("template")
    return [template] if isinstance(template, dict) else []


def _containers(template: Json) -> list[Json]:
    spec = template.get("spec") or {}
    return [item for item in spec.get("containers") or () if isinstance(item, dict)]


def notes_on_images(images: Iterable[str]) -> list[str]:
    foreign = [image for image in images if is_foreign(image)]
    if not foreign:
        return []
    return [f"{', '.join(foreign)}: played by the sample application ({DEFAULTS}); tell the simulation more by the "
            f"annotations {START_S} and {DRAIN_S} of the pod template"]


def notes_on_variables(manifests: Iterable[Json]) -> list[str]:
    """What a manifest tells the sample that it does not heed here."""
    told = {str(item.get("name")) for manifest in manifests for template in _templates(manifest)
            for container in _containers(template) if not is_foreign(str(container.get("image", "")))
            for item in container.get("env") or () if isinstance(item, dict)}
    return [f"{name} of the sample application is not played: {why}" for name, why in NOT_PLAYED.items()
            if name in told]
