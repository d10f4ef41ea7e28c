"""The control plane's process: store, registry, HTTP, controllers and the gateway's feeder on one event loop.

``python -m testbed.server --instance DIR``. It may be killed at any moment and started again: everything is in the
store. Exits 0 on SIGTERM. A loop of it that ends by a bug ends the process, and the machine room starts it anew.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import resource
import secrets
import signal
import sys
from pathlib import Path

from testbed.api.clock import SystemClock
from testbed.api.instance import Instance
from testbed.api.instance_files import load_instance
from testbed.api.process_logs import configure
from testbed.client.events import EventRecorder
from testbed.client.inprocess import InProcessClient
from testbed.controlplane.manager import CONTROLLERS, HOUSEKEEPING, ControlPlane
from testbed.core.profile import PROFILES
from testbed.errors import EnvironmentProblem, TestbedError
from testbed.network.feeder import GatewayFeeder
from testbed.network.ingress_feeder import IngressFeeder
from testbed.server import runbooks
from testbed.server.agents import Agents
from testbed.server.authentication import Gatekeeper
from testbed.server.bootstrap import ensure_system_objects
from testbed.server.gateway_paths import GatewayPaths
from testbed.server.http import Face
from testbed.server.live import Live
from testbed.server.metrics import Exposition
from testbed.server.monitoring_paths import MonitoringPaths
from testbed.server.own_paths import OwnPaths
from testbed.server.page_sessions import PageSessions
from testbed.server.picture import cluster
from testbed.server.registry import Registry
from testbed.server.request_counts import RequestCounts
from testbed.server.run_paths import RunPaths
from testbed.server.serving import serve
from testbed.server.tokens import signing_key
from testbed.server.usage import Usages
from testbed.store import Store

_log = logging.getLogger("testbed.server")


def open_registry(instance: Instance, rng: random.Random) -> Registry:
    """Raises: EnvironmentProblem."""
    registry = Registry(
        Store(instance.database), clock=SystemClock(), random=rng, profile=PROFILES[instance.profile],
        service_range=instance.service_range, node_ports=instance.node_ports,
        signing_key=signing_key(_token(instance)),
    )
    ensure_system_objects(registry, instance.kubernetes_service_address)
    return registry


async def run(instance: Instance) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises: EnvironmentProblem; ExceptionGroup when a loop ended by a bug.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    rng = random.SystemRandom()
    registry = open_registry(instance, rng)
    client = InProcessClient(registry)
    agents = Agents(instance)
    control = ControlPlane(client, profile=PROFILES[instance.profile], clock=SystemClock(), random=rng,
                           usage=Usages(registry, agents), kinds=HOUSEKEEPING if instance.foreign else CONTROLLERS)
    recorder = EventRecorder(client, "gateway", SystemClock(), random=rng)
    feeder = GatewayFeeder(client, instance.gateway_directory / "control.sock", recorder)
    ingress_recorder = EventRecorder(client, "ingress-controller", SystemClock(), random=rng)
    ingresses = IngressFeeder(client, instance.gateway_directory / "control.sock", ingress_recorder,
                              instance.gateway_address)
    sessions = PageSessions(_token(instance), f"testbed-page-{instance.id}", SystemClock(), secrets.token_bytes)
    live = Live(registry, lambda: cluster(instance, registry.clock.now()))
    gatekeeper = Gatekeeper(_token(instance), [instance.kubernetes_service_address], sessions=sessions)
    gateway = GatewayPaths(instance.gateway_directory / "control.sock").routes if instance.routed else {}
    own = OwnPaths(sessions, live, MonitoringPaths(registry, instance).routes,
                   RunPaths(instance.runs, sessions).routes, runbooks.ROUTES, gateway)
    requests = RequestCounts()
    metrics = Exposition(registry, control, requests)
    face = Face(registry, gatekeeper, agents=agents, address=f"127.0.0.1:{instance.api_port}", metrics=metrics, own=own,
                requests=requests)
    runner = await serve(face.handle, "127.0.0.1", instance.api_port, certificate=instance.certificate,
                         key=instance.certificate_key)
    _log.info("serving %s on 127.0.0.1:%d, revision %d", instance.name, instance.api_port, registry.store.revision)
    gc.freeze()  # what is imported by now stays; collections need not look at it again
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(control.run(), name="controllers"),
                     group.create_task(live.run(), name="live page")]
            if instance.routed:
                tasks += [group.create_task(feeder.run(), name="gateway feeder"),
                          group.create_task(ingresses.run(), name="ingress feeder")]
            await stopping.wait()
            for task in tasks:
                task.cancel()
    finally:
        registry.store.end_watches()
        await runner.cleanup()
        await recorder.close()
        await ingress_recorder.close()
        await agents.close()
        await metrics.close()
        registry.store.close()
        _log.info("stopped")


def _token(instance: Instance) -> str:
    try:
        return instance.token_file.read_text().strip()
    except OSError as error:
        raise EnvironmentProblem(f"{instance.token_file} cannot be read: {error}",
                                 hint="take the cluster down and up again: testbed down, testbed up") from error


def _raise_file_limit() -> None:
    """Each watch holds a connection; the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed.server", description=__doc__)
    parser.add_argument("--instance", required=True, type=Path, help="the instance's state directory")
    arguments = parser.parse_args()
    configure("api")
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # garbage on the port is its sender's trouble
    _raise_file_limit()
    try:
        asyncio.run(run(load_instance(arguments.instance)))
    except TestbedError as error:
        _log.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
