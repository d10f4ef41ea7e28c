"""What must be so on a foreign cluster before an experiment touches it: the kinds it needs, and the right to use them.

All that is missing is told at once. What the cluster does not answer is unknown: said, and left to fail by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.api.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    ResourceType,
)
from testbed.client.aio import HttpClient
from testbed.errors import ApiError, ApiUnavailable, EnvironmentProblem, InvalidInput, NotFound
from testbed.experiment.embedded import fault_resource
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.manifests import resource_of, resource_of_kind

CHAOS_MESH = "chaos-mesh.org"
OURS = "testbed.io"
REVIEWS = ResourceType("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False)
WATCHED = (PODS, NODES, ENDPOINT_SLICES, DEPLOYMENTS, EVENTS)


@dataclass(frozen=True)
class Right:
    """One thing that we must be allowed. ``namespace`` "": in all of them."""

    verb: str
    resource: ResourceType
    namespace: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        what = self.resource.group_resource + (f"/{self.subresource}" if self.subresource else "")
        return f"{self.verb} {what}" + (f" in namespace {self.namespace}" if self.namespace else "")


def kinds_of(loaded: LoadedExperiment) -> tuple[ResourceType, ...]:
    """Every kind that the workload and the steps make or change."""
    spec = loaded.experiment.spec
    manifests = [*loaded.manifests, *(item for items in loaded.applied.values() for item in items)]
    found = [resource_of(item) for item in manifests]
    found += [resource_of_kind(step.patch.kind) for step in spec.method if step.patch is not None]
    found += [DEPLOYMENTS for step in spec.method if step.rollout is not None or step.scale is not None]
    return tuple(dict.fromkeys(item for item in found if item is not None))


def faults_of(loaded: LoadedExperiment) -> dict[str, ResourceType]:
    """The kind of each step's fault."""
    return {step.name: fault_resource(step.fault) for step in loaded.experiment.spec.method if step.fault is not None}


async def check_kinds(client: HttpClient, loaded: LoadedExperiment) -> None:
    """Raises: InvalidInput (a fault that this cluster can never have), EnvironmentProblem (one that it has not now)."""
    served = await served_kinds(client, {*kinds_of(loaded), *faults_of(loaded).values()})
    for step, kind in faults_of(loaded).items():
        if kind in served:
            continue
        if kind.group == OURS:
            raise InvalidInput(
                f"step {step}: {kind.kind} is a fault of the testbed alone, and this cluster is none",
                hint="run it on --platform testbed, or use a fault of Chaos Mesh: testbed faults")
        raise EnvironmentProblem(f"step {step}: this cluster has no {kind.api_version} {kind.kind}",
                                 hint="install Chaos Mesh there (https://chaos-mesh.org/docs), or another --context")
    missing = [kind for kind in kinds_of(loaded) if kind not in served]
    if missing:
        raise EnvironmentProblem("this cluster does not serve " + ", ".join(
            f"{kind.api_version} {kind.kind}" for kind in missing))


async def served_kinds(client: HttpClient, kinds: Iterable[ResourceType]) -> frozenset[ResourceType]:
    """Those that the cluster's discovery names. Raises: ApiError."""
    wanted = tuple(kinds)
    versions = sorted({kind.api_version for kind in wanted})
    found = dict(zip(versions, await asyncio.gather(*(_plurals(client, version) for version in versions)),
                     strict=True))
    return frozenset(kind for kind in wanted if kind.plural in found[kind.api_version])


async def _plurals(client: HttpClient, version: str) -> frozenset[str]:
    try:
        answer = await client.look(f"/apis/{version}" if "/" in version else f"/api/{version}")
    except NotFound:
        return frozenset()
    return frozenset(str(item.get("name")) for item in answer.get("resources") or ())


def rights_for(loaded: LoadedExperiment, *, makes_namespace: bool, guards: bool = True) -> tuple[Right, ...]:
    """All that a run of this experiment does through the API. ``guards``: whom a fault hits is chosen here."""
    spec = loaded.experiment.spec
    where = spec.namespace
    rights = [Right(verb, kind, "" if kind in (NODES, EVENTS) else where) for kind in WATCHED
              for verb in ("list", "watch")]
    for kind in kinds_of(loaded):
        scope = where if kind.namespaced else ""
        rights += [Right(verb, kind, scope) for verb in ("get", "create", "patch", "delete")]
    for kind in dict.fromkeys(faults_of(loaded).values()):
        rights += [Right(verb, kind, where) for verb in ("create", "get", "list", "watch", "delete")]
        if guards and kind.group == CHAOS_MESH:
            rights.append(Right("list", PODS))  # a limit is a share of all pods that the selector matches
    if any(condition.log is not None for condition in spec.steady_state):
        rights.append(Right("get", PODS, where, "log"))
    if any(step.rollout is not None and step.rollout.undo for step in spec.method):
        rights.append(Right("list", REPLICA_SETS, where))
    if spec.load.pulse is not None or any(item.http or item.tcp or item.json_ for item in spec.steady_state):
        rights.append(Right("get", SERVICES, where))
    if makes_namespace:
        rights += [Right(verb, NAMESPACES) for verb in ("create", "delete")]
    return tuple(dict.fromkeys(rights))


async def check_rights(client: HttpClient, rights: Sequence[Right]) -> tuple[str, ...]:
    """Notes of what could not be found out. Raises: EnvironmentProblem with every right that is missing."""
    answers = await asyncio.gather(*(_allowed(client, right) for right in rights))
    missing = [str(right) for right, answer in zip(rights, answers, strict=True) if answer is False]
    if missing:
        raise EnvironmentProblem("the kubeconfig's user may not: " + ", ".join(missing),
                                 hint="ask for a Role that allows it; see: kubectl auth can-i --list")
    if any(answer is None for answer in answers):
        return ("whether the kubeconfig's user may do all that the run does is unknown: the cluster does not answer "
                "SelfSubjectAccessReviews",)
    return ()


async def _allowed(client: HttpClient, right: Right) -> bool | None:
    """None: the cluster does not say."""
    attributes = {"verb": right.verb, "group": right.resource.group, "resource": right.resource.plural}
    if right.namespace:
        attributes["namespace"] = right.namespace
    if right.subresource:
        attributes["subresource"] = right.subresource
    review = {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind, "metadata": {},
              "spec": {"resourceAttributes": attributes}}
    try:
        answer = await client.create(REVIEWS, review)
    except ApiUnavailable:
        raise
    except ApiError:
        return None
    allowed = (answer.get("status") or {}).get("allowed")
    return allowed if isinstance(allowed, bool) else None
