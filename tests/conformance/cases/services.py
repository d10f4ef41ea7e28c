"""Chapter SV: Services and their endpoints (test/e2e/network/service.go, endpointslice.go).

Clients are pods, by the Service's name or address; a Service's endpoints are told by the name of the pod that answers.
"""

from __future__ import annotations

import asyncio
import json

from testbed.api.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from testbed.errors import AlreadyExists

from .kube import Json, Kube
from .manifests import PAUSE, app, pod, service
from .registry import case

NAMED = [{"name": "web", "containerPort": 8080}]


def backend(name: str, labels: str = "web", *, ready: bool = True, node: str = "", **spec: object) -> Json:
    """A sample application that answers with its own name; it is ready at once or never."""
    env = {"POD_NAME": name, "DRAIN_S": "0", "START_DELAY_S": "0" if ready else "3600",
           **spec.pop("env", {})}  # type: ignore[dict-item]
    container = app(env=env, ports=NAMED, readinessProbe={"httpGet": {"path": "/readyz", "port": 8080},
                                                          "periodSeconds": 1})
    return pod(name, container, labels={"app": labels}, terminationGracePeriodSeconds=1,
               **({"nodeName": node} if node else {}), **spec)


async def client(kube: Kube, name: str = "client", node: str = "") -> str:
    await kube.create(PODS, pod(name, app(script=PAUSE), terminationGracePeriodSeconds=0,
                                **({"nodeName": node} if node else {})))
    await kube.running(name)
    return name


_FETCH = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())
except OSError as error:
    sys.exit(print(error) or 1)
"""


async def fetched(kube: Kube, who: str, url: str) -> tuple[int, str]:
    """Exit code and output of a program in a pod that asks for ``url`` and waits 2 s. The sample's busybox has a wget
    that crashes, so a real pod asks by Python."""
    argv = ("python3", "-c", _FETCH, url) if kube.real else ("wget", "-q", "-T", "2", "-O", "-", url)
    result = await kube.run(who, *argv)
    return result.exit_code, result.output.decode(errors="replace")


async def asked(kube: Kube, target: str, who: str = "client", port: int = 80) -> str:
    """The pod that answers a pod's request; empty: none does."""
    code, told = await fetched(kube, who, f"http://{target}:{port}/")
    return str(json.loads(told)["pod"]) if code == 0 else ""


async def reached(kube: Kube, target: str, *names: str, who: str = "client", port: int = 80,
                  within_s: float = 60) -> None:
    """Requests meet exactly these pods, all of them."""
    async def look() -> bool:
        found = {await asked(kube, target, who, port) for _ in range(6 * max(1, len(names)))}
        return found == (set(names) or {""})

    await kube.until(f"{target} is answered by {names or 'nobody'}", look, within_s)


async def listed(kube: Kube, name: str, expected: dict[str, list[int]], within_s: float = 180) -> None:
    """Endpoints and EndpointSlices name exactly these pods, each with these ports."""
    async def look() -> bool:
        found: dict[str, list[int]] = {}
        for piece in await kube.list(ENDPOINT_SLICES, f"kubernetes.io/service-name={name}"):
            for endpoint in piece["endpoints"]:
                if endpoint["conditions"]["ready"]:
                    found.setdefault(endpoint["targetRef"]["name"], []).extend(
                        port["port"] for port in piece["ports"])
        core: dict[str, list[int]] = {}
        for subset in (await kube.get(ENDPOINTS, name)).get("subsets") or ():
            for address in subset.get("addresses") or ():
                core.setdefault(address["targetRef"]["name"], []).extend(port["port"] for port in subset["ports"])
        return ({key: sorted(ports) for key, ports in found.items()} == expected
                and {key: sorted(ports) for key, ports in core.items()} == expected)

    await kube.until(f"the endpoints of {name} are {expected}", look, within_s)


async def address(kube: Kube, name: str) -> str:
    return str((await kube.get(SERVICES, name))["spec"]["clusterIP"])


@case("SV-01", "basic", real_s=20)
async def basic_endpoints(kube: Kube) -> None:
    await client(kube)
    await kube.create(SERVICES, service("web"))
    await listed(kube, "web", {})
    await reached(kube, "web", within_s=10)  # refused
    for name in ("one", "two"):
        await kube.create(PODS, backend(name))
    await listed(kube, "web", {"one": [8080], "two": [8080]})
    await reached(kube, "web", "one", "two")
    await kube.delete(PODS, "one")
    await listed(kube, "web", {"two": [8080]})
    await reached(kube, "web", "two")
    await kube.delete(PODS, "two")
    await listed(kube, "web", {})


@case("SV-01", "multiport", real_s=25)
async def multiport_endpoints(kube: Kube) -> None:
    """Two ports by number; each pod has only what it listens on."""
    await client(kube)
    await kube.create(SERVICES, service("web", ports=[
        {"name": "portname1", "port": 80, "targetPort": "web"},
        {"name": "portname2", "port": 81, "targetPort": "other"}]))
    await kube.create(PODS, backend("one"))
    other = backend("two", env={"PORT": "8090"})
    other["spec"]["containers"][0]["ports"] = [{"name": "other", "containerPort": 8090}]
    other["spec"]["containers"][0]["readinessProbe"]["httpGet"]["port"] = 8090
    await kube.create(PODS, other)
    await listed(kube, "web", {"one": [8080], "two": [8090]})
    await reached(kube, "web", "one")
    await reached(kube, "web", "two", port=81)
    await kube.delete(PODS, "one")
    await listed(kube, "web", {"two": [8090]})
    await reached(kube, "web")


@case("SV-02", real_s=30)
async def slices_and_endpoints(kube: Kube) -> None:
    for name in ("one", "two"):
        await kube.create(PODS, backend(name))
    await kube.create(SERVICES, service("number"))
    await kube.create(SERVICES, service(
        "named", selector={"app": "web"}, ports=[{"name": "http", "port": 80, "targetPort": "web"}]))
    await listed(kube, "named", {"one": [8080], "two": [8080]})

    async def empty() -> bool:
        pieces = await kube.list(ENDPOINT_SLICES, "kubernetes.io/service-name=number")
        return len(pieces) == 1 and not pieces[0]["endpoints"]

    await kube.until("a Service that matches nothing has one empty slice", empty, 180)
    assert not (await kube.get(ENDPOINTS, "number")).get("subsets")
    for piece in await kube.list(ENDPOINT_SLICES, "kubernetes.io/service-name=named"):
        await kube.delete(ENDPOINT_SLICES, piece["metadata"]["name"])
    await kube.delete(ENDPOINTS, "named")
    await listed(kube, "named", {"one": [8080], "two": [8080]})


@case("SV-03", real_s=45)
async def unready_pods_published(kube: Kube) -> None:
    await client(kube)
    await kube.create(SERVICES, service("web", publishNotReadyAddresses=True))
    await kube.create(PODS, backend("unready", ready=False, env={"DRAIN_S": "60"}))
    await kube.running("unready")
    await reached(kube, "web", "unready", within_s=120)
    await kube.patch(SERVICES, "web", {"spec": {"publishNotReadyAddresses": False}})
    await reached(kube, "web", within_s=120)
    await kube.patch(SERVICES, "web", {"spec": {"publishNotReadyAddresses": True}})
    await reached(kube, "web", "unready", within_s=120)
    await kube.delete(PODS, "unready", grace_s=20)  # it goes on serving, and is published though it terminates
    await kube.holds("the terminating pod is reached", lambda: asked(kube, "web"), 4)


async def three_backends(kube: Kube, **spec: object) -> list[str]:
    names = ["one", "two", "three"]
    await client(kube)
    for name in names:
        await kube.create(PODS, backend(name))
    await kube.create(SERVICES, service("web", **spec))
    await listed(kube, "web", {name: [8080] for name in names})
    return names


async def met(kube: Kube, times: int = 15) -> set[str]:
    return {await asked(kube, "web") for _ in range(times)}


@case("SV-07", "affinity", real_s=25)
async def affinity(kube: Kube) -> None:
    names = await three_backends(kube, sessionAffinity="ClientIP")

    async def sticky() -> bool:
        found = await met(kube)
        return len(found) == 1 and found <= set(names)

    await kube.until("fifteen requests meet one pod", sticky, 60)


@case("SV-07", "switch", real_s=35)
async def switch_affinity(kube: Kube) -> None:
    await three_backends(kube, sessionAffinity="ClientIP")

    async def meets(one: bool) -> bool:
        return (len(await met(kube)) == 1) is one

    await kube.until("one pod", lambda: meets(True), 60)
    await kube.patch(SERVICES, "web", {"spec": {"sessionAffinity": "None"}})
    await kube.until("several pods", lambda: meets(False), 60)
    await kube.patch(SERVICES, "web", {"spec": {"sessionAffinity": "ClientIP"}})
    await kube.until("one pod again", lambda: meets(True), 60)


@case("SV-08", real_s=1300)
async def affinity_times_out(kube: Kube) -> None:
    await _times_out(kube, 125)


@case("SV-08", "short", real_s=45)
async def short_affinity_times_out(kube: Kube) -> None:
    """The same with a shorter time, for real engines."""
    await _times_out(kube, 3)


async def _times_out(kube: Kube, timeout_s: int) -> None:
    await three_backends(kube, sessionAffinity="ClientIP",
                         sessionAffinityConfig={"clientIP": {"timeoutSeconds": timeout_s}})

    async def sticky() -> bool:
        return len(await met(kube, 5)) == 1

    await kube.until("one pod", sticky, 60)
    first, seen = await asked(kube, "web"), set()
    for _ in range(10):
        await asyncio.sleep(timeout_s + 1)  # nobody asks
        seen.add(await asked(kube, "web"))
        if seen - {first}:
            return
    raise AssertionError(f"always the same pod, {first}")


@case("SV-09", "up-and-down", real_s=40)
async def up_and_down(kube: Kube) -> None:
    await client(kube)
    for name in ("up-down-1", "up-down-2"):
        await kube.create(PODS, backend(name, name))
        await kube.create(SERVICES, service(name))
        await reached(kube, await address(kube, name), name)
    gone = await address(kube, "up-down-1")
    await kube.delete(SERVICES, "up-down-1")
    await reached(kube, gone)
    await reached(kube, await address(kube, "up-down-2"), "up-down-2")
    await kube.create(PODS, backend("up-down-3", "up-down-3"))
    await kube.create(SERVICES, service("up-down-3"))
    await reached(kube, await address(kube, "up-down-3"), "up-down-3")
    await reached(kube, await address(kube, "up-down-2"), "up-down-2")


@case("SV-09", "recreated", real_s=25)
async def recreated(kube: Kube) -> None:
    await client(kube)
    await kube.create(PODS, backend("one"))
    await kube.create(SERVICES, service("web"))
    await reached(kube, "web", "one")
    before = await address(kube, "web")
    await kube.delete(SERVICES, "web")
    await reached(kube, before)
    try:
        await kube.create(SERVICES, service("web", clusterIP=before))
    except AlreadyExists:
        raise AssertionError("the deleted Service is still there") from None
    await reached(kube, before, "one")
    await listed(kube, "web", {"one": [8080]})


@case("SV-09", "ports", real_s=30)
async def ports_come_and_go(kube: Kube) -> None:
    await client(kube)
    await kube.create(PODS, backend("one"))
    await kube.create(SERVICES, service("web", ports=[{"name": "a", "port": 80, "targetPort": 8080}]))
    await reached(kube, "web", "one")
    await kube.patch(SERVICES, "web", {"spec": {"ports": [
        {"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81, "targetPort": "web"}]}})
    await reached(kube, "web", "one", port=81)
    await reached(kube, "web", "one")
    await kube.patch(SERVICES, "web", {"spec": {"ports": [{"name": "b", "port": 81, "targetPort": "web"}]}})
    await reached(kube, "web", port=80)
    await reached(kube, "web", "one", port=81)
    await listed(kube, "web", {"one": [8080]})


@case("SV-10", real_s=15)
async def hairpin(kube: Kube) -> None:
    await kube.create(PODS, backend("one"))
    await kube.create(SERVICES, service("web"))
    await listed(kube, "web", {"one": [8080]})
    await reached(kube, "web", "one", who="one")
    await reached(kube, f"web.{kube.namespace}.svc.cluster.local", "one", who="one")
