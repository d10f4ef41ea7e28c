"""A control plane as a process of its own, without any engine, and the real kubectl beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from testbed.api.instance import Instance
from testbed.client.sync import Cluster
from testbed.errors import ApiUnavailable

Json = dict[str, Any]


class ServerProcess:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.cluster = Cluster.of_instance(instance)
        self.log = instance.directory / "server.log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "testbed.server", "--instance", str(self.instance.directory)], stderr=log)
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.cluster.get("ns", "default")
                return
            except ApiUnavailable:
                assert time.monotonic() < deadline, self.log.read_text()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.cluster.close()
        self.process.terminate()
        return self.process.wait(10)


class Kubectl:
    """Runs kubectl with the instance's kubeconfig alone."""

    def __init__(self, program: str, instance: Instance) -> None:
        self._program, self._instance = program, instance
        self.environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(instance.kubeconfig),
                            "HOME": str(instance.directory)}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([self._program, *arguments], input=stdin, text=True, capture_output=True, timeout=60,
                              env=self.environment)

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))


def find_kubectl() -> str:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl on PATH; its compatibility is not tested here")
    return program
