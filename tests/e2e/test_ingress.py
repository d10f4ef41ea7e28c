"""An Ingress as a person meets it: applied, addressed, reached from this machine, served by TLS, kept through a rolling
update and the gateway's death; and the examples of the deployment strategies."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.certificates import self_signed
from support.cluster import Cluster, run_testbed, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
EXAMPLES = Path(__file__).parents[2] / "examples"
WEB = (EXAMPLES / "web.yaml").read_text().replace("replicas: 4", "replicas: 2")
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls:
    - {hosts: [shop.example.com], secretName: shop}
  rules:
    - host: shop.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
    - host: gone.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: gone, port: {number: 80}}}}
"""


def get(cluster: Cluster, host: str = "shop.example.com", *, tls: bool = False) -> tuple[int, str]:
    """Through the port on this machine's loopback."""
    port = cluster.instance.ingress_ports[tls]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    if tls:
        plain.connect()
        assert plain.sock is not None
        plain.sock = context.wrap_socket(plain.sock, server_hostname=host)
    try:
        plain.request("GET", "/", headers={"Host": host})
        answer = plain.getresponse()
        return answer.status, answer.read().decode()
    finally:
        plain.close()


def secret() -> str:
    crt, key = self_signed("shop.example.com")
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "shop"},
                       "stringData": {"tls.crt": crt, "tls.key": key}})


@contextmanager
def asking(cluster: Cluster) -> Iterator[None]:
    """Requests all the time to the address of the Ingress; none may fail."""
    url = f"http://{cluster.instance.gateway_address}/"
    out = cluster.directory / "pulse.csv"
    process = subprocess.Popen(
        ["python3", "-m", "testbed.load.pulse", "--url", url, "--host", "shop.example.com", "--rate", "100",
         "--keep-rate", "20", "--out", str(out), "--until-eof"], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=20)
    from testbed.load.records import Follower

    follower = Follower(out)
    follower.poll()
    failed = [record for record in follower.data.records if not record.ok]
    assert len(follower.data.records) > 200 and failed == [], failed[:5]


def test_an_ingress_serves_by_name_and_tls_and_loses_nothing_in_a_rolling_update(cluster: Cluster) -> None:
    cluster.apply(WEB + "\n---" + INGRESS)
    cluster.wait_ready("app=web", 2)
    found = wait_for("its address", lambda: cluster.get("ingress", "web")["status"]["loadBalancer"].get("ingress"))
    assert found == [{"ip": cluster.instance.gateway_address}]
    ports = cluster.instance.ingress_ports
    assert f"http://127.0.0.1:{ports[0]}" in cluster.testbed("status", "--name", cluster.name)
    table = cluster.testbed("get", "ingress").splitlines()[1].split()
    assert table[:4] == ["web", "testbed", "shop.example.com,gone.example.com", cluster.instance.gateway_address]

    wait_for("an answer", lambda: get(cluster)[0] == 200)
    assert get(cluster, "gone.example.com")[0] == 503 and get(cluster, "other.example.com")[0] == 404
    told = {event["reason"] for event in cluster.get("events")["items"] if event["involvedObject"]["kind"] == "Ingress"}
    assert {"Programmed", "ServiceNotFound", "SecretNotFound"} <= told
    cluster.apply(secret())
    wait_for("TLS", lambda: get(cluster, tls=True)[0] == 200)

    with asking(cluster):
        run_testbed("rollout", "restart", "deployment/web", TESTBED_NAME=cluster.name)
        run_testbed("rollout", "status", "deployment/web", TESTBED_NAME=cluster.name)
    (gateway,) = [item for item in json.loads(cluster.testbed("status", "--name", cluster.name, "-o", "json"))
                  [cluster.name]["processes"] if item["name"] == "gateway"]
    os.kill(gateway["pid"], signal.SIGKILL)
    wait_for("the Ingress after the gateway's death", lambda: get(cluster)[0] == 200)

    cluster.testbed("delete", "ingress", "web")
    wait_for("nobody listens any more", lambda: _refused(cluster))


def _refused(cluster: Cluster) -> bool:
    connection = http.client.HTTPConnection(cluster.instance.gateway_address, 80, timeout=5)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


STRATEGIES = [
    "blue-green", *(pytest.param(name, marks=pytest.mark.long) for name in (
        "recreate", "rolling-update", "canary", "canary-weight", "canary-withdrawn"))]


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_example_of_a_deployment_strategy_passes(state_home: Path, tmp_path: Path, name: str) -> None:
    done = run_testbed("run", name, "--out", str(tmp_path), check=False, XDG_STATE_HOME=str(state_home))
    assert done.returncode == 0, done.stdout + done.stderr
