"""A control plane as a process: whatever it is asked, all lines of its log are of one form and none has a secret."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.api.instance import Instance, NodeInstance
from testbed.api.instance_files import save_instance
from testbed.server.certificates import write_credentials

PASSWORD = "correct-horse-battery-staple"
PODS = "/api/v1/namespaces/default/pods"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Asking:
    def __init__(self, instance: Instance) -> None:
        self._url = f"https://127.0.0.1:{instance.api_port}"
        self._tls = ssl.create_default_context(cafile=str(instance.ca_certificate))
        self.token = instance.token_file.read_text().strip()

    def __call__(self, method: str, path: str, body: Any = None, token: str | None = None) -> int:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {
            "Authorization": f"Bearer {self.token if token is None else token}", "Content-Type": "application/json",
        }, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._tls) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    node = NodeInstance("n1", "10.9.1.0/24", free_port(), free_port(), free_port())
    made = Instance("t", "0123456789ab", tmp_path / "instance", "10.9.0.0/16", free_port(), (30001, 30002),
                    nodes=(node,))
    write_credentials(made)
    save_instance(made)
    made.log_file("api").parent.mkdir()
    return made


@pytest.fixture
def ask(instance: Instance) -> Iterator[Asking]:
    with instance.log_file("api").open("wb") as log, subprocess.Popen(
            [sys.executable, "-m", "testbed.server", "--instance", str(instance.directory)], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        asking = Asking(instance)
        try:
            ends_at = time.monotonic() + 60
            while True:
                try:
                    assert asking("GET", "/readyz") == 200
                    break
                except OSError:
                    assert time.monotonic() < ends_at and process.poll() is None, instance.log_file("api").read_text()
            yield asking
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_no_secret_is_in_the_log_of_a_control_plane(instance: Instance, ask: Asking) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
           "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "x", "env": [
               {"name": "PASSWORD", "value": PASSWORD}]}]}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"word": PASSWORD}}
    answers = [
        ask("POST", "/api/v1/namespaces/default/secrets", secret),
        ask("POST", PODS, pod),
        ask("POST", PODS, {**pod, "metadata": {"name": "b"}, "spec": {"containers": [], "word": PASSWORD}}),
        ask("POST", "/api/v1/namespaces/default/secrets", f'{{"stringData": {PASSWORD}'.encode()),
        ask("GET", f"{PODS}/a/log"),  # its agent is not there
        ask("GET", PODS, token=PASSWORD),
        ask("GET", f"/nothing?token={ask.token}"),
        ask("DELETE", f"{PODS}/a"),
    ]
    assert answers == [201, 201, 422, 400, 503, 401, 404, 200]
    log = instance.log_file("api").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines and {line["process"] for line in lines} == {"api"}
    assert all(line["ns"] > 0 and line["at"].endswith("Z") for line in lines)
    secrets = [ask.token, instance.agent_token_file.read_text().strip(), PASSWORD,
               base64.b64encode(PASSWORD.encode()).decode(),
               *instance.certificate_key.read_text().splitlines()[1:-1]]
    assert [secret for secret in secrets if secret in log] == []
