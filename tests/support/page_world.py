"""The live page in front of a registry that is filled by hand: the real HTTP face over TLS, no engine, no controllers.

As a program (``python tests/support/page_world.py [--port N]``) it prints the address to open and plays a short story
over and over: a pod dies and is made again, a node goes away and comes back, a run goes on.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from http_world import make_instance
from server_world import HandClock, deployment, make_registry, service

from faults.crd import definitions
from faults.registry import Registry as Faults
from testbed.api import resources as r
from testbed.api.instance import Instance
from testbed.api.labels import SERVICE_NAME
from testbed.api.meta import format_time
from testbed.experiment.schema import EXPERIMENTS, experiment_definition
from testbed.server import runbooks
from testbed.server.authentication import Gatekeeper
from testbed.server.http import Face
from testbed.server.live import Live
from testbed.server.monitoring_paths import MonitoringPaths
from testbed.server.own_paths import OwnPaths
from testbed.server.page_sessions import PageSessions
from testbed.server.picture import cluster
from testbed.server.registry import Registry
from testbed.server.run_paths import RunPaths
from testbed.server.serving import serve

Json = dict[str, Any]
POD_CHAOS = r.ResourceType(r.CHAOS_MESH_GROUP, "v1alpha1", "podchaos", "PodChaos")
NODE_CHAOS = r.ResourceType(r.TESTBED_GROUP, "v1alpha1", "nodechaos", "NodeChaos")


class Clock(HandClock):
    """The real one, which tests can put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class PageWorld:
    """``url``: of the control plane. Everything that is put in is seen by the page within 0.1 s."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        instance = make_instance(directory)
        self.instance: Instance = replace(instance, api_port=port) if port else instance
        self.clock = Clock()
        self.registry: Registry = make_registry(self.clock)
        for definition in (*definitions(Faults().faults()), experiment_definition()):
            self.registry.create(r.CUSTOM_RESOURCE_DEFINITIONS, definition)
        self.url = f"https://127.0.0.1:{self.instance.api_port}"
        self.token = self.instance.token_file.read_text()

    # --- the control plane

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Left and entered again, it is a control plane that was stopped and started: sessions go on."""
        live = Live(self.registry, lambda: cluster(self.instance, self.clock.now()))
        sessions = self.sessions = PageSessions(self.token, "testbed-page-t", self.clock, secrets.token_bytes)
        face = Face(self.registry, Gatekeeper(self.token, sessions=sessions),
                    own=OwnPaths(sessions, live, MonitoringPaths(self.registry, self.instance).routes,
                                 RunPaths(self.instance.runs, sessions).routes, runbooks.ROUTES))
        runner = await serve(face.handle, "127.0.0.1", self.instance.api_port, certificate=self.instance.certificate,
                             key=self.instance.certificate_key)
        following = asyncio.create_task(live.run())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await runner.cleanup()

    async def entrance(self) -> str:
        """An address that opens the page, once."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls())) as session, \
                session.post(f"{self.url}/testbed/v1/sessions",
                             headers={"Authorization": f"Bearer {self.token}"}) as answer:
            return self.url + str((await answer.json())["path"])

    def tls(self) -> ssl.SSLContext:
        """That trusts this cluster."""
        return ssl.create_default_context(cafile=str(self.instance.ca_certificate))

    # --- what is in the cluster

    def fill(self, *, nodes: int = 3, pods: int = 6) -> None:
        """Nodes, a Deployment ``web`` with so many ready pods, its Service."""
        for index in range(nodes):
            self.node(f"node-{index + 1}")
        self.registry.create(r.DEPLOYMENTS, deployment(replicas=pods), "default")
        stored = self.registry.get(r.DEPLOYMENTS, "web", "default").value
        self.registry.create(r.REPLICA_SETS, {
            "metadata": {"name": "web-5d9", "labels": {"app": "web"}, "ownerReferences": [_owner(stored)]},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": stored["spec"]["template"]}}, "default")
        self.registry.create(r.SERVICES, service(), "default")
        for index in range(pods):
            self.pod(f"web-{index + 1}", f"node-{index % nodes + 1}")
        self.endpoints()

    def node(self, name: str, *, ready: str = "True", reason: str = "KubeletReady", message: str = "") -> None:
        """Makes it, or sets how ready it is: ``True``, ``False``, ``Unknown``."""
        if self.registry.store.get("nodes", "", name) is None:
            self.registry.create(r.NODES, {"metadata": {"name": name}})
        self._status(r.NODES, name, None, {
            "conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": message,
                            "lastTransitionTime": self.stamp()}],
            "addresses": [{"type": "InternalIP", "address": "10.9.1.1"}]})

    def pod(self, name: str, node: str, *, ready: bool = True, restarts: int = 0, waiting: str = "",
            app: str = "web") -> None:
        """Makes it of the ReplicaSet, or sets its container's state. ``waiting``: why it does not run."""
        if self.registry.store.get("pods", "default", name) is None:
            owner = self.registry.get(r.REPLICA_SETS, "web-5d9", "default").value
            self.registry.create(r.PODS, {
                "metadata": {"name": name, "labels": {"app": app}, "ownerReferences": [_owner(owner)]},
                "spec": {"nodeName": node, "containers": [{
                    "name": "web", "image": "sample:v1", "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": 8080}}}]}}, "default")
        state = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": self.stamp()}}
        self._status(r.PODS, name, "default", {
            "phase": "Running", "podIP": "10.9.1.10", "startTime": self.stamp(),
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "web", "image": "sample:v1", "imageID": "", "ready": ready,
                                   "started": not waiting, "restartCount": restarts, "state": state, "lastState": {}}]})

    def kill(self, name: str) -> None:
        """The pod is gone, at once."""
        self.registry.delete_object(r.PODS, name, "default", grace_s=0, propagation="Background", uid="")

    def endpoints(self) -> None:
        """The EndpointSlice of ``web``, as its pods are now; and the Deployment's status."""
        pods = [item.value for item in self.registry.list(r.PODS, "default").items]
        ready = [any(c["type"] == "Ready" and c["status"] == "True" for c in (pod.get("status") or {}).get(
            "conditions") or ()) for pod in pods]
        value = {"metadata": {"name": "web-1", "labels": {SERVICE_NAME: "web"}}, "addressType": "IPv4",
                 "ports": [{"port": 8080}], "endpoints": [{"addresses": ["10.9.1.10"], "conditions": {"ready": state}}
                                                          for state in ready]}
        if self.registry.store.get(r.ENDPOINT_SLICES.group_resource, "default", "web-1") is None:
            self.registry.create(r.ENDPOINT_SLICES, value, "default")
        else:
            self.registry.update(r.ENDPOINT_SLICES, value, "default")
        self._status(r.DEPLOYMENTS, "web", "default", {
            "replicas": len(pods), "readyReplicas": sum(ready), "updatedReplicas": len(pods),
            "availableReplicas": sum(ready)})

    def event(self, kind: str, name: str, reason: str, message: str, *, warning: bool = False,
              annotations: Mapping[str, str] | None = None) -> None:
        now = self.clock.now()
        where = {} if kind == "Node" else {"namespace": "default"}
        self.registry.create(r.EVENTS, {
            "metadata": {"name": f"{name}.{secrets.token_hex(6)}", "annotations": dict(annotations or {})},
            "reason": reason, "message": message,
            "type": "Warning" if warning else "Normal", "involvedObject": {"kind": kind, "name": name, **where},
            "eventTime": format_time(now, micro=True), "firstTimestamp": format_time(now),
            "lastTimestamp": format_time(now), "count": 1}, "default")

    def fault(self, name: str, target: str, *, phase: str = "Injected", kind: str = "PodChaos",
              action: str = "pod-kill", message: str = "", node: str = "") -> None:
        """A fault object as the chaos daemon leaves it. ``phase``: Injecting, Injected (a kill: done), Recovered,
        Failed, Refused."""
        resource = POD_CHAOS if kind == "PodChaos" else NODE_CHAOS
        if self.registry.store.get(resource.group_resource, "default", name) is None:
            self.registry.create(resource, {"apiVersion": resource.api_version, "kind": kind, "metadata": {
                "name": name}, "spec": {"action": action, "mode": "one", "selector": {}}}, "default")
        refused = phase == "Refused"
        told: Json = {"reason": {"Refused": "BlastRadius", "Failed": "NotInEffect"}[phase], "message": message} \
            if phase in ("Refused", "Failed") else {}
        conditions = [{"type": "Selected", "status": str(not refused), **(told if refused else {})},
                      {"type": "AllInjected", "status": str(phase in ("Injected", "Recovered")), **told},
                      {"type": "AllRecovered", "status": str(phase == "Recovered")}]
        record = {"id": target, "selectorKey": ".", "phase": "Injected" if phase == "Injected" else "Not Injected",
                  "injectedCount": 1, "recoveredCount": 0, "node": node,
                  "oneShot": not Faults().get(f"{kind}/{action}").reversible,
                  "events": [{"operation": "Apply", "type": "Succeeded", "timestamp": self.stamp()}]}
        self._status(resource, name, "default", {"conditions": conditions, "experiment": {
            "desiredPhase": "Run", "containerRecords": [] if refused else [record]}})

    def experiment(self, run: str, status: Mapping[str, Any]) -> None:
        """A run as its runner publishes it."""
        if self.registry.store.get(EXPERIMENTS.group_resource, "default", run) is None:
            self.registry.create(EXPERIMENTS, {"apiVersion": "testbed.io/v1alpha1", "kind": "Experiment",
                                               "metadata": {"name": run}, "spec": {}}, "default")
        self._status(EXPERIMENTS, run, "default", dict(status))

    def stamp(self) -> str:
        return format_time(self.clock.now(), micro=True)

    def _status(self, resource: r.ResourceType, name: str, namespace: str | None, status: Json) -> None:
        obj = self.registry.get(resource, name, namespace).fresh()
        self.registry.update(resource, {**obj, "status": status}, namespace, subresource="status")


def _owner(obj: Json) -> Json:
    return {"apiVersion": "apps/v1", "kind": obj.get("kind", "ReplicaSet"), "name": obj["metadata"]["name"],
            "uid": obj["metadata"]["uid"], "controller": True}


def run_status(second: int, *, folder: str = "") -> Json:
    """A run with a crash at second 5, mended a second later, as of ``second``: contract 1's form."""
    crashed, mended = second >= 5, second >= 7
    failed = 12 if crashed else 0
    sent = 100 * second
    recent = [[1_800_000_000 + at, 100 - (12 if at == 5 else 0), 12 if at == 5 else 0, 0, 2.1, 8.0 + 30 * (at == 5)]
              for at in range(max(0, second - 60), second)]
    disruption = {"run": 1, "step": "crash", "fault": "PodChaos/container-kill", "target": "default/web-1/web",
                  "injectedAt": "2026-11-29T12:00:05.000000Z", "restored": mended, "outage_s": 0.12, "failed": 12,
                  "marks": {"detected": 0.12, **({"isolated": 0.2, "restored": 1.4} if mended else {})}}
    return {
        "phase": "Running", "startedAt": "2026-11-29T12:00:00.000000Z", "experiment": "crash", "platform": "testbed",
        "folder": folder,
        "run": {"number": 1, "of": 3, "phase": "observe" if crashed else "steady", "step": "crash" if crashed else ""},
        "load": [{"target": "pulse", "rate": 100, "sent": sent, "ok": sent - failed, "failed": failed, "late": 0,
                  "unsent": 0, "latency": {"buckets": {"0.005": sent - failed, "+Inf": sent}, "sum_s": sent * 0.002},
                  "recent": recent}],
        "disruptions": [disruption] if crashed else [],
        "objectives": [{"text": "crash.repair.median < 3s", "met": True if mended else None,
                        "measured": "1.4s" if mended else ""}],
        "verdicts": {},
    }


@asynccontextmanager
async def page_world(directory: Path, *, nodes: int = 3, pods: int = 6) -> AsyncIterator[PageWorld]:
    """A filled one, served."""
    world = PageWorld(directory)
    world.fill(nodes=nodes, pods=pods)
    async with world.serving():
        yield world


async def play(world: PageWorld) -> None:
    """The story, one turn after another, a second a step."""
    turn = 0
    while True:
        turn += 1
        run = f"crash-{turn}"
        for second in range(20):
            world.experiment(run, run_status(second))
            if second == 5:
                world.fault(f"crash-{turn}", "default/web-1/web", action="container-kill", node="node-1")
                world.pod("web-1", "node-1", ready=False, restarts=turn, waiting="CrashLoopBackOff")
                world.event("Pod", "web-1", "ContainerDied", "container web ended with 137", warning=True)
            if second == 7:
                world.fault(f"crash-{turn}", "default/web-1/web", action="container-kill", phase="Recovered")
                world.pod("web-1", "node-1", restarts=turn)
                world.event("Pod", "web-1", "Started", "Started container web")
            if second in (10, 15):
                world.node("node-2", ready="Unknown" if second == 10 else "True", reason="NodeStatusUnknown")
                world.event("Node", "node-2", "NodeNotReady" if second == 10 else "NodeReady", "", warning=second == 10)
            world.endpoints()
            await asyncio.sleep(1)
        world.experiment(run, run_status(20) | {"phase": "Finished", "verdict": "passed", "exitCode": 0,
                                                "endedAt": world.stamp(), "verdicts": {"passed": 3}})


async def main() -> None:
    import argparse
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where to listen; a free one")
    with tempfile.TemporaryDirectory() as name:
        world = PageWorld(Path(name) / "testbed", port=parser.parse_args().port)
        print(f"XDG_STATE_HOME={name} testbed top --name instance", file=sys.stderr)  # noqa: T201
        world.fill()
        async with world.serving():
            print(await world.entrance(), flush=True)  # noqa: T201
            await play(world)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    asyncio.run(main())
