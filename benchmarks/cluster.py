"""A cluster for measuring, brought up and taken down through the command line in a state directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.api.instance import Instance
from testbed.api.instance_files import load_instance


@dataclass(frozen=True)
class BenchCluster:
    """``up_s``: how long `testbed up` took, as a person sees it."""

    name: str
    home: Path
    up_s: float

    @property
    def instance(self) -> Instance:
        return load_instance(self.home / "testbed" / self.name)

    def testbed(self, *arguments: str) -> str:
        return run(self.home, *arguments, "--name", self.name)

    def apply(self, text: str) -> None:
        file = self.home / "manifest.yaml"
        file.write_text(text)
        self.testbed("apply", "-f", str(file))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.testbed("get", *arguments, "-o", "json"))

    def wait_ready(self, count: int) -> list[dict[str, Any]]:
        """Waits until ``count`` pods are ready."""
        def ready() -> list[dict[str, Any]]:
            return [pod for pod in self.get("pods")["items"] if any(
                item["type"] == "Ready" and item["status"] == "True"
                for item in pod.get("status", {}).get("conditions", []))]

        pods: list[dict[str, Any]] = until(
            lambda: found if len(found := ready()) == count else None, f"{count} ready pods")
        return pods


def run(home: Path, *arguments: str) -> str:
    """stdout of ``testbed ARGUMENTS``. Raises: SystemExit with what it said."""
    done = subprocess.run([sys.executable, "-m", "testbed", *arguments], capture_output=True, text=True, check=False,
                          env=os.environ | {"XDG_STATE_HOME": str(home)})
    if done.returncode:
        raise SystemExit(f"testbed {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def until(condition: Callable[[], Any], what: str, *, timeout_s: float = 120, every_s: float = 0.1) -> Any:
    """Waits for something true. Raises: SystemExit."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(every_s)
    return value


@contextmanager
def bench_cluster(name: str, nodes: int) -> Iterator[BenchCluster]:
    """Up, and down whatever happens."""
    with tempfile.TemporaryDirectory(prefix="testbed-bench-") as folder:
        home = Path(folder)
        started = time.monotonic()
        try:
            run(home, "up", "--name", name, "--nodes", str(nodes))
            yield BenchCluster(name, home, time.monotonic() - started)
        finally:
            run(home, "down", "--name", name)


def deployment(name: str, replicas: int, *, extra: str = "", drain_s: float = 2, image: str = "sample:v1") -> str:
    """A Deployment of the sample with a Service; ``extra``: more of the container, indented by ten blanks."""
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: web
          image: {image}
          env: [{{name: DRAIN_S, value: "{drain_s}"}}]
          ports: [{{name: http, containerPort: 8080}}]
{extra}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: http}}]
"""


READINESS = "          readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}"
