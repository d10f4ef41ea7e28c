"""Truth of the service path: a sick backend hurts a Service's client exactly as it hurts the pod's own.

One backend, held in the rotation by a slice of our own; from this machine and from a pod; the same body on the
simulated and on the real engine. The same kind of outcome within a client's patience of 2 s; times are compared where
an outcome comes sooner.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from cases.kube import Kube
from cases.manifests import PAUSE, app, pod
from cases.registry import Case
from cases.services import fetched
from cases.worlds import run_on_docker, run_simulated
from support.cluster import Cluster

from testbed.api import labels
from testbed.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from testbed.machines.power import cut_links
from testbed.runtime.factory import open_host
from testbed.runtime.simulated import SimulatedHost

PATIENCE_S = 2.0
TOLERANCE_S = 0.25  # of two outcomes that come sooner, on a busy machine
ROUNDS = 3  # neighbours are forgotten after seconds: a later client must not learn more than the first

KINDS = {"dead": "refused", "frozen": "timeout", "without power": "timeout", "partitioned": "timeout"}
WORDS = {"refused": "refused", "reset": "reset", "No route": "unreachable", "unreachable": "unreachable"}


async def outcome(kube: Kube, address: str, port: int) -> tuple[str, float]:
    """Kind and seconds of one request from this machine."""
    began = kube.now()
    try:
        await kube.fetch(address, port=port, timeout_s=PATIENCE_S)
        kind = "answered"
    except ConnectionRefusedError:
        kind = "refused"
    except ConnectionResetError:
        kind = "reset"
    except OSError as error:
        unreachable = error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
        kind = "unreachable" if unreachable else "timeout" if isinstance(error, TimeoutError) else str(error)
    return kind, kube.now() - began


async def outcome_in_pod(kube: Kube, address: str, port: int) -> tuple[str, float]:
    began = kube.now()
    code, told = await fetched(kube, "client", f"http://{address}:{port}/")
    kind = "answered" if code == 0 else next((WORDS[word] for word in WORDS if word in told), "timeout")
    return kind, kube.now() - began


async def bring_up(kube: Kube) -> tuple[str, str]:
    """The backend's own address and its Service's."""
    here, there = (await kube.nodes())[:2]
    await kube.create(PODS, pod("client", app(script=PAUSE), nodeName=here, terminationGracePeriodSeconds=0))
    await kube.create(PODS, pod("server", app(), nodeName=there, terminationGracePeriodSeconds=0))
    await kube.running("client")
    own = (await kube.ready("server"))["status"]["podIP"]
    made = await kube.create(SERVICES, {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "held"}, "spec": {"ports": [{"port": 80}]}})
    await kube.create(ENDPOINT_SLICES, {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "held", "labels": {labels.SERVICE_NAME: "held"}},
        "endpoints": [{"addresses": [own], "conditions": {"ready": True}}], "ports": [{"port": 8080, "name": ""}]})
    through: str = made["spec"]["clusterIP"]

    async def answers() -> bool:
        return (await outcome(kube, through, 80))[0] == "answered" == (await outcome_in_pod(kube, own, 8080))[0]

    await kube.until("the backend answers through its Service", answers, 60)
    return own, through


async def die_twice(kube: Kube) -> None:
    """After the second death the restart waits (back-off 10 s)."""
    for _ in range(2):
        await kube.running("server")
        before = await kube.restarts("server")
        [container] = [item for item in await kube.containers("server", "app") if item.running]
        await kube.engine.signal(container.id, "SIGKILL")
        if not before:
            await kube.until("it was started again", partial(_restarted, kube), 30)


async def _restarted(kube: Kube) -> bool:
    return await kube.restarts("server") > 0


@asynccontextmanager
async def in_force(kube: Kube, fault: str) -> AsyncIterator[None]:
    node = (await kube.pod("server"))["spec"]["nodeName"]
    if fault == "dead":
        await die_twice(kube)
        yield
    elif fault == "frozen":
        [container] = [item for item in await kube.containers("server", "app") if item.running]
        await kube.engine.pause(container.id)
        yield
        await kube.engine.unpause(container.id)
    elif fault == "without power":
        await kube.room.set_power(node, on=False)
        yield
        await kube.room.set_power(node, on=True)
        await kube.until("the node is back", partial(_node_ready, kube, node), 60)
    else:
        host = SimulatedHost(kube.world.machine, kube.instance_id) if kube.world else open_host(
            kube.instance_id, kube.engine)
        sandboxes = [item for item in await kube.containers("server")
                     if item.labels.get(labels.ROLE) == labels.ROLE_SANDBOX]
        await cut_links(host, [item.pid for item in sandboxes])
        yield
        await host.close()


async def _node_ready(kube: Kube, node: str) -> bool:
    conditions = (await kube.get(NODES, node))["status"]["conditions"]
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


async def same_through_the_service(kube: Kube, *, fault: str) -> None:
    own, through = await bring_up(kube)
    async with in_force(kube, fault):
        for asks in (outcome, outcome_in_pod):
            for _ in range(ROUNDS if asks is outcome else 1):
                (direct, direct_s), (served, served_s) = await asyncio.gather(
                    asks(kube, own, 8080), asks(kube, through, 80))
                assert (direct, served) == (KINDS[fault], KINDS[fault]), (asks.__name__, direct_s, served_s)
                if direct != "timeout":
                    assert abs(direct_s - served_s) < TOLERANCE_S


def truth(fault: str) -> Case:
    name = fault.replace(" ", "-")
    return Case("path", name, partial(same_through_the_service, fault=fault), 20, "", False, 2, {})


@pytest.mark.parametrize("fault", KINDS)
def test_sick_backend_hurts_alike_in_virtual_time(fault: str) -> None:
    run_simulated(truth(fault))


@pytest.mark.engine
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", KINDS)
async def test_sick_backend_hurts_alike_on_docker(fault: str, cluster: Cluster) -> None:
    await run_on_docker(truth(fault), cluster.instance)
