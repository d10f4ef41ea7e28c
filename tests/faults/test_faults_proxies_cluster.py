"""DNSChaos and HTTPChaos on a real cluster, seen by a pod's own processes, by its clients and by the kernel's rules."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from support.cluster import Cluster, bring_up_for_test, condition, state_home_for_test, wait_for

from testbed.api import labels
from testbed.client.sync import Cluster as Api

pytestmark = [pytest.mark.engine, pytest.mark.long]  # its faults are in the contract of `make test` too, simulated

Json = dict[str, Any]
RESOLVE = """
import os, socket, sys
for name in sys.argv[1:]:
    try:
        print(name, socket.gethostbyname(name))
    except OSError as error:
        print(name, error.errno)
"""
KUBERNETES = "kubernetes.default.svc.cluster.local."
WEB = "web.default.svc.cluster.local."
AGAIN = "-3"  # EAI_AGAIN: a temporary failure in name resolution
STATUS = """
import http.client, sys
client = http.client.HTTPConnection(sys.argv[1], 80)
client.request("GET", sys.argv[2])
print(client.getresponse().status)
"""
MIRROR = """
import http.server
class Mirror(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
http.server.ThreadingHTTPServer(("", 8080), Mirror).serve_forever()
"""
NO_QUEUES = """
import sys, time
sys.path.insert(0, "/opt/testbed")
import packet_queue, steering
held = [packet_queue.Queue(steering.FIRST_QUEUE + number) for number in range(steering.LEVELS)]
print("held", flush=True)
time.sleep(600)
"""
SAME_PORT = """
import socket, sys
sys.path.insert(0, "/opt/testbed")
import dns_packet, names
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.bind(("", 45353))
asker.settimeout(5)
asker.connect((sys.argv[1], 53))
asker.send(dns_packet.query(7, "web.default.svc.cluster.local", 1))
print(dns_packet.read_answer(asker.recv(4096))[0])
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with (state_home_for_test(tmp_path_factory.mktemp("t")) as home,
          bring_up_for_test("test_proxies", home, nodes=1) as found):
        yield found


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    """With the workload in it, and the faults' kinds."""
    with Api.of_instance(cluster.instance) as api:
        busybox = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "busybox"}}
        api.apply([busybox, deployment("web", 8080), service("web", 8080), deployment("asker", 8080, "busybox"),
                   deployment("nginx", 80), deployment("mirror", 8080, command=["python3", "-c", MIRROR])])
        for app, namespace in (("web", "default"), ("nginx", "default"), ("mirror", "default"), ("asker", "busybox")):
            wait_for(f"{app} to be ready", lambda app=app, namespace=namespace: [pod for pod in api.list(
                "pods", namespace, label_selector=f"app={app}") if condition(pod, "Ready") == "True"])
        for kind in ("dnschaos", "httpchaos"):
            wait_for(f"{kind} to be served", lambda kind=kind: api.list(kind) == [])
        yield api


def deployment(name: str, port: int, namespace: str = "default", **more: Any) -> Json:
    container = {**more, "name": "web", "image": "sample:v1", "env": [{"name": "PORT", "value": str(port)}],
                 "readinessProbe": {"httpGet": {"path": "/readyz", "port": port}, "periodSeconds": 1}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}}}


def service(name: str, port: int) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": port}]}}


class Pod:
    """A pod of the cluster: its address, its container and the kernel's rules in its network."""

    def __init__(self, cluster: Cluster, api: Api, app: str, namespace: str = "default") -> None:
        [self.object] = api.list("pods", namespace, label_selector=f"app={app}")
        self.address = self.object["status"]["podIP"]
        self._engine = docker.from_env()
        self._instance = cluster.instance.id

    def _container(self, role: str) -> Any:
        wanted = {labels.INSTANCE: self._instance, labels.POD_UID: self.object["metadata"]["uid"], labels.ROLE: role}
        [found] = self._engine.containers.list(filters={"label": [f"{key}={value}" for key, value in wanted.items()]})
        return found

    def resolve(self, *names: str, **env: str) -> dict[str, str]:
        """Addresses that a process of the pod gets, or the number of the error."""
        done = self._container(labels.ROLE_CONTAINER).exec_run(["python3", "-c", RESOLVE, *names], environment=env)
        return dict(line.split(" ", 1) for line in done.output.decode().splitlines())

    def run(self, *argv: str) -> str:
        """stdout of what runs in the pod's network with the tools image."""
        return str(self._engine.containers.run(
            "testbed-nettools:1", list(argv), remove=True, network_mode=f"container:{self._container('sandbox').id}",
            labels={labels.INSTANCE: self._instance}, cap_add=["NET_ADMIN"]).decode())

    @contextlib.contextmanager
    def without_queues(self) -> Iterator[None]:
        """As on a kernel that has none: others hold them all."""
        taker = self._engine.containers.run(
            "testbed-nettools:1", ["python3", "-c", NO_QUEUES], detach=True, cap_add=["NET_ADMIN"],
            network_mode=f"container:{self._container('sandbox').id}", labels={labels.INSTANCE: self._instance})
        try:
            wait_for("the queues to be held", lambda: b"held" in taker.logs())
            yield
        finally:
            taker.remove(force=True)

    def rules(self) -> list[str]:
        """Of iptables, without their counts, in every table; and the policies of routing."""
        lines = self.run("iptables-save").splitlines() + self.run("ip", "rule").splitlines()
        return [line for line in lines if not line.startswith((":", "#", "*", "COMMIT"))]

    def nameserver(self) -> str:
        text = self._container(labels.ROLE_CONTAINER).exec_run(["cat", "/etc/resolv.conf"]).output.decode()
        return next(line.split()[1] for line in text.splitlines() if line.startswith("nameserver"))

    def ask(self, path: str = "/", port: int = 8080, method: str = "GET") -> tuple[int, str]:
        """As a client outside; (0, the error) when there is no answer."""
        client = http.client.HTTPConnection(self.address, port, timeout=5)
        try:
            client.request(method, path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, type(error).__name__
        finally:
            client.close()

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.close()


@pytest.fixture
def web(cluster: Cluster, api: Api) -> Iterator[Pod]:
    with Pod(cluster, api, "web") as found:
        yield found


def chaos(kind: str, name: str, spec: Json, app: str = "web") -> Json:
    return {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": {"name": name},
            "spec": {"mode": "all", "selector": {"labelSelectors": {"app": app}}, "duration": "2m", **spec}}


def inject(api: Api, *objects: Json) -> list[str]:
    """Returns the evidence when all are in effect."""
    for obj in objects:
        api.create(obj)
    return [wait_for(f"{obj['metadata']['name']} to take effect", lambda obj=obj: evidence(api, obj), timeout_s=30,
                     pause_s=0.05) for obj in objects]


def evidence(api: Api, obj: Json) -> str:
    found = api.get(obj["kind"].lower(), obj["metadata"]["name"])
    assert condition(found, "AllInjected") == "True", json.dumps(found.get("status"))
    [record] = found["status"]["experiment"]["containerRecords"]
    return str(record["events"][-1].get("message"))


def undo(api: Api, *objects: Json) -> None:
    for obj in objects:
        kind, name = obj["kind"].lower(), obj["metadata"]["name"]
        api.delete(kind, name)
        wait_for(f"{name} to be gone", lambda kind=kind, name=name: name not in {
            other["metadata"]["name"] for other in api.list(kind)}, pause_s=0.05)


def kill_holder(api: Api, obj: Json) -> None:
    uid = api.get(obj["kind"].lower(), obj["metadata"]["name"])["metadata"]["uid"]
    client = docker.from_env()
    try:
        [holder] = client.containers.list(filters={"label": f"{labels.INJECTION}={uid}-0000"})
        holder.kill()
    finally:
        client.close()


# --- DNSChaos


def test_meant_names_fail_over_udp_and_tcp_others_resolve_and_nothing_stays(api: Api, web: Pod) -> None:
    before, server = web.rules(), web.nameserver()
    truth = web.resolve("web", "kubernetes")
    assert web.run("python3", "-c", SAME_PORT, server).strip() == "0"
    fault = chaos("DNSChaos", "names", {"action": "error", "patterns": ["web.default.*"]})
    [told] = inject(api, fault)
    assert "server failure" in told
    assert web.resolve(WEB, WEB.upper(), "kubernetes") == {
        WEB: AGAIN, WEB.upper(): AGAIN, "kubernetes": truth["kubernetes"]}
    over_tcp = web.resolve(WEB, "kubernetes", RES_OPTIONS="use-vc")
    assert over_tcp["kubernetes"] == truth["kubernetes"]
    assert over_tcp[WEB].startswith("-")  # glibc has another error for it over TCP
    assert web.run("python3", "-c", SAME_PORT, server).strip() == "2"  # although a flow from this port is known

    undo(api, fault)
    assert web.resolve("web", "kubernetes") == truth
    assert web.run("python3", "-c", SAME_PORT, server).strip() == "0"
    assert web.rules() == before


def test_two_dns_faults_add_up_are_undone_in_any_order_and_a_killed_one_is_no_outage(
    api: Api, web: Pod,
) -> None:
    before = web.rules()
    truth = web.resolve("web", "kubernetes")
    everything = chaos("DNSChaos", "everything", {"action": "random"})
    kubernetes = chaos("DNSChaos", "kubernetes", {"action": "error", "patterns": ["kubernetes.default.sv?.*"]})
    inject(api, kubernetes)
    inject(api, everything)
    found = web.resolve("web", KUBERNETES)
    assert found["web"].startswith(("198.18.", "198.19."))
    assert found[KUBERNETES] == AGAIN

    undo(api, kubernetes)
    assert web.resolve("kubernetes")["kubernetes"].startswith(("198.18.", "198.19."))
    kill_holder(api, everything)
    assert web.resolve("web", "kubernetes") == truth
    undo(api, everything)
    assert web.rules() == before


# --- HTTPChaos


def test_meant_responses_change_others_pass_and_nothing_stays(api: Api, web: Pod) -> None:
    before = web.rules()
    kept = http.client.HTTPConnection(web.address, 8080, timeout=5)
    kept.request("GET", "/")
    assert kept.getresponse().read()
    fault = chaos("HTTPChaos", "answers", {"target": "Response", "port": 8080, "path": "/", "replace": {"code": 418}})
    [told] = inject(api, fault)
    assert "418" in told and "200" in told
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):  # connections from before are reset, once
        kept.request("GET", "/")
        kept.getresponse()
    kept.close()
    assert web.ask("/")[0] == 418
    assert web.ask("/healthz") == (200, "ok")

    undo(api, fault)
    assert web.ask("/")[0] == 200
    assert web.rules() == before


def test_two_http_faults_on_one_port_add_up_and_stay_through_a_restart(api: Api, web: Pod) -> None:
    late = chaos("HTTPChaos", "late", {"target": "Request", "port": 8080, "path": "/", "delay": "300ms"})
    patched = chaos("HTTPChaos", "patched", {
        "target": "Response", "port": 8080, "path": "/",
        "patch": {"body": {"type": "JSON", "value": '{"version":null,"more":[1]}'}}})
    inject(api, late, patched)

    def both() -> bool:
        began = time.monotonic()
        status, body = web.ask("/")
        return (status == 200 and time.monotonic() - began >= 0.3 and "version" not in json.loads(body)
                and json.loads(body)["more"] == [1])

    assert both()
    web.ask("/control/crash", method="POST")
    wait_for("the container to run again", lambda: web.ask("/healthz")[0] == 200)
    assert both()

    undo(api, late)
    began = time.monotonic()
    assert "version" not in json.loads(web.ask("/")[1])
    assert time.monotonic() - began < 0.3
    undo(api, patched)
    assert "version" in json.loads(web.ask("/")[1])


def test_the_server_sees_its_client_through_any_number_of_proxies(cluster: Cluster, api: Api) -> None:
    with Pod(cluster, api, "mirror") as mirror:
        before = mirror.rules()
        [client] = {mirror.ask()[1]}
        assert client == cluster.instance.host_address
        first = chaos("HTTPChaos", "first", {"target": "Response", "port": 8080, "path": "/", "replace": {"code": 201}},
                      "mirror")
        second = chaos("HTTPChaos", "second", {"target": "Response", "port": 8080, "path": "/", "code": 200,
                                               "patch": {"headers": [["X-Second", "yes"]]}}, "mirror")
        for fault in (first, second):
            [told] = inject(api, fault)
            assert "in its client's name" in told
            assert mirror.ask() == (201, client)
        undo(api, first, second)
        assert mirror.rules() == before


def test_a_killed_proxy_is_no_outage_and_its_rules_go_with_the_object(api: Api, web: Pod) -> None:
    before = web.rules()
    fault = chaos("HTTPChaos", "cut", {"target": "Request", "port": 8080, "abort": True, "path": "/"})
    inject(api, fault)
    assert web.ask("/")[0] == 0
    kill_holder(api, fault)
    assert web.ask("/")[0] == 200
    undo(api, fault)
    assert web.rules() == before


def test_without_netfilter_queues_requests_are_hit_all_the_same(cluster: Cluster, api: Api) -> None:
    first = chaos("HTTPChaos", "first", {"target": "Response", "port": 8080, "replace": {"code": 201}}, "mirror")
    second = chaos("HTTPChaos", "second", {"target": "Request", "port": 8080, "path": "/x", "abort": True}, "mirror")
    with Pod(cluster, api, "mirror") as mirror:
        before = mirror.rules()
        with mirror.without_queues():
            assert all("there are no netfilter queues" in told for told in inject(api, first, second))
            assert mirror.ask() == (201, cluster.instance.host_address)
            assert mirror.ask("/x")[0] == 0
            kill_holder(api, second)
            undo(api, second, first)
            assert mirror.ask()[0] == 200
            assert mirror.rules() == before


def test_what_the_pod_asks_of_others_is_hit_too(cluster: Cluster, api: Api, web: Pod) -> None:
    fault = chaos("HTTPChaos", "outgoing", {
        "target": "Response", "port": 80, "path": "/healthz", "replace": {"code": 404}})
    [told] = inject(api, fault)
    assert "nothing listens" in told
    with Pod(cluster, api, "nginx") as other:
        ask = ("python3", "-c", STATUS, other.address)
        assert web.run(*ask, "/healthz").strip() == "404"
        assert web.run(*ask, "/").strip() == "200"
        assert other.ask("/healthz", 80)[0] == 200
    undo(api, fault)


def test_chaos_meshs_own_examples_run_as_they_are(cluster: Cluster, api: Api) -> None:
    # chaos-mesh: examples/dns-chaos-example.yaml, examples/nginx/http-patch-response.yaml
    names = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "DNSChaos", "metadata": {"name": "dns-chaos-example"},
             "spec": {"action": "random", "mode": "all", "patterns": ["google.com", "chaos-mesh.*", "github.?om"],
                      "selector": {"namespaces": ["busybox"]}, "duration": "50s"}}
    body = '{"status":"Failed","reason":"hacked by Chaos Mesh"}'
    answers = {"kind": "HTTPChaos", "apiVersion": "chaos-mesh.org/v1alpha1", "metadata": {"name": "nginx-http-patch"},
               "spec": {"selector": {"namespaces": ["default"], "labelSelectors": {"app": "nginx"}}, "mode": "all",
                        "target": "Response", "patch": {"body": {"type": "JSON", "value": body}}, "port": 80,
                        "path": "*"}}
    inject(api, names, answers)
    with Pod(cluster, api, "asker", "busybox") as asker, Pod(cluster, api, "nginx") as nginx:
        found = asker.resolve("google.com", "chaos-mesh.org", "github.com", "kubernetes.default")
        assert all(found[name].startswith(("198.18.", "198.19.")) for name in
                   ("google.com", "chaos-mesh.org", "github.com"))
        assert not found["kubernetes.default"].startswith(("198.18.", "198.19.", "-"))
        assert json.loads(nginx.ask("/", 80)[1])["reason"] == "hacked by Chaos Mesh"
    undo(api, names, answers)


@pytest.mark.parametrize(("kind", "spec", "field"), [
    ("HTTPChaos", {"target": "Request", "port": 8080, "abort": True, "tls": {"secretName": "x"}}, "spec.tls"),
    ("DNSChaos", {"action": "error", "patterns": ["*.org"]}, "spec.patterns[0]"),
])
def test_what_is_left_out_or_wrong_is_refused_by_its_place(api: Api, kind: str, spec: Json, field: str) -> None:
    obj = chaos(kind, "wrong", spec)
    api.create(obj)

    def refusal() -> str:
        found = api.get(kind.lower(), "wrong")
        [told] = [item for item in found["status"]["conditions"] if item["type"] == "Selected"]
        return str(told.get("message")) if told["status"] == "False" else ""

    assert field in wait_for("the refusal", refusal)
    undo(api, obj)
