"""``python -m testbed.node --instance DIR --node NAME``: one node's agent on this machine."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import shutil
import signal
import sys
from pathlib import Path

from testbed.api.clock import SystemClock
from testbed.api.instance import ENGINE, MACHINE_ENGINE, Instance, NodeInstance
from testbed.api.instance_files import load_instance
from testbed.api.labels import NODE_KIND, REGION, ZONE
from testbed.api.process_logs import configure
from testbed.client.aio import HttpClient
from testbed.core.profile import PROFILES
from testbed.errors import EngineUnavailable, EnvironmentProblem, HostError, TestbedError
from testbed.network.gateway import route_node
from testbed.network.sandbox import route_sandbox
from testbed.node.agent import Agent
from testbed.node.boots import boot_id
from testbed.node.facts import NodeFacts
from testbed.node.http import KubeletServer
from testbed.runtime.architecture import architecture
from testbed.runtime.factory import open_engine, open_host, open_nested_engine
from testbed.runtime.host_protocol import Host, ProcessIdentity
from testbed.runtime.protocol import Engine, EngineVersion

log = logging.getLogger("testbed.node")
_ENGINE_AGAIN_S = 1.0
_STOP_S = 4.0
_REGION = "local"  # all zones are in one


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testbed.node")
    parser.add_argument("--instance", type=Path, required=True, help="the instance's state directory")
    parser.add_argument("--node", required=True)
    arguments = parser.parse_args()
    configure(f"agent/{arguments.node}", node=arguments.node)
    # The loop must not wait 5 ms for its turn behind a thread that talks to the engine: a death is acted on at once.
    sys.setswitchinterval(0.0005)
    try:
        instance = load_instance(arguments.instance)
        asyncio.run(_run(instance, instance.node(arguments.node)))
    except TestbedError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


async def _run(instance: Instance, node: NodeInstance) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    engine = _engine(instance, node)
    host = open_host(instance.id, engine)
    client = HttpClient.of_instance(instance, port=node.to_api_port)
    loop = asyncio.get_running_loop()
    work = loop.create_task(_serve(instance, node, engine, host, client))
    waiting = loop.create_task(stopped.wait())
    try:
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        work.cancel()
        waiting.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await asyncio.gather(work, waiting, return_exceptions=True)
                await client.close()
                await host.close()
                await engine.close()


async def _serve(instance: Instance, node: NodeInstance, engine: Engine, host: Host, client: HttpClient) -> None:
    facts = _facts(instance, node, await _version(engine))

    async def route(process: ProcessIdentity) -> None:
        await route_sandbox(host, process, instance, node)

    if node.kind == ENGINE:
        await engine.pull(facts.pause_image)
    else:
        try:
            await route_node(host, instance, facts.address)
        except HostError as error:  # its host ports are then out of this machine's reach, and nothing else
            log.warning("%s", error.message)
    agent = Agent(
        client, engine, host, facts, PROFILES[instance.profile], SystemClock(), random.Random(), route,
    )
    server = KubeletServer(
        agent, instance.agent_token_file.read_text().strip(), certificate=instance.certificate,
        key=instance.certificate_key, port=node.agent_port,
    )
    try:
        await server.start()
    except OSError as error:
        raise EnvironmentProblem(f"the agent of {node.name} cannot listen on port {node.agent_port}: {error}",
                                 hint="another agent of this node may still run") from error
    log.info("agent of %s listens on 127.0.0.1:%d", node.name, node.agent_port)
    try:
        await agent.run()
    finally:
        await server.close()


def _engine(instance: Instance, node: NodeInstance) -> Engine:
    """The machine's, or the node's own: then this process runs in the node's container."""
    if node.kind == ENGINE:
        return open_nested_engine(
            f"unix://{instance.node_socket(node.name, 'engine')}", f"unix://{MACHINE_ENGINE}",
            instance.directory / "image-copies.lock")
    return open_engine(instance.engine_url)


async def _version(engine: Engine) -> EngineVersion:
    """Waits for the engine: an agent without one is of no use, but its node may get it back."""
    while True:
        try:
            return await engine.version()
        except EngineUnavailable as error:
            log.warning("no engine yet: %s", error.message)
            await asyncio.sleep(_ENGINE_AGAIN_S)


def _facts(instance: Instance, node: NodeInstance, version: EngineVersion) -> NodeFacts:
    return NodeFacts(
        name=node.name, instance_id=instance.id, instance_name=instance.name, pod_cidr=node.pod_cidr,
        address=instance.node_address(node.pod_cidr), network=instance.network, cgroup=instance.node_cgroup(node.name),
        directory=instance.node_directory(node.name), cpu=node.cpu or str(os.cpu_count() or 1),
        memory=node.memory or f"{_memory_kib()}Ki", limited=bool(node.cpu or node.memory),
        ephemeral_storage=node.disk or f"{shutil.disk_usage(instance.directory).total // 1024}Ki",
        disk_limited=bool(node.disk),
        kind=node.kind, labels=_labels(node), allow_privileged=instance.allow_privileged,
        dns_servers=(instance.dns_address,), agent_port=node.agent_port, runtime_version=version.version,
        kernel_version=version.kernel, architecture=architecture(), boot_id=boot_id(instance.node_directory(node.name)),
    )


def _labels(node: NodeInstance) -> dict[str, str]:
    return {**({NODE_KIND: ENGINE} if node.kind == ENGINE else {}),
            **({REGION: _REGION, ZONE: node.zone} if node.zone else {})}


def _memory_kib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 1024 * 1024


if __name__ == "__main__":
    sys.exit(main())
