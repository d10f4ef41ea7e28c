"""The kinds that fault objects have, and where the API serves them: Chaos Mesh's own, and ours for what it lacks."""

from __future__ import annotations

from testbed.api.resources import CHAOS_MESH_GROUP, TESTBED_GROUP, ResourceType


def chaos_mesh(kind: str) -> ResourceType:
    return ResourceType(CHAOS_MESH_GROUP, "v1alpha1", kind.lower(), kind, categories=("chaos",))


def ours(kind: str) -> ResourceType:
    return ResourceType(TESTBED_GROUP, "v1alpha1", kind.lower(), kind, categories=("chaos",))


SCHEDULE = ResourceType(CHAOS_MESH_GROUP, "v1alpha1", "schedules", "Schedule", categories=("chaos",))
POD_CHAOS = chaos_mesh("PodChaos")
NETWORK_CHAOS = chaos_mesh("NetworkChaos")
STRESS_CHAOS = chaos_mesh("StressChaos")
DNS_CHAOS = chaos_mesh("DNSChaos")
HTTP_CHAOS = chaos_mesh("HTTPChaos")
IO_CHAOS = chaos_mesh("IOChaos")
TIME_CHAOS = chaos_mesh("TimeChaos")

FREEZE_CHAOS = ours("FreezeChaos")
NODE_CHAOS = ours("NodeChaos")
CONTROL_PLANE_CHAOS = ours("ControlPlaneChaos")
ENGINE_CHAOS = ours("EngineChaos")
IMAGE_CHAOS = ours("ImageChaos")
SHAM_CHAOS = ours("ShamChaos")
