"""A cluster as an end-to-end test uses it: through the command line and the API, as a person would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import leaks

from testbed.api.instance import Instance
from testbed.api.instance_files import load_instance

ROOT = Path(__file__).parents[2]


def unique_name(stem: str) -> str:
    """A cluster's name that no other session of tests has, and none had that was killed and left something."""
    words = re.sub(r"[^a-z0-9]+", "-", stem.removeprefix("test_").lower())[:16].strip("-")
    return f"test-{words}-{leaks.SESSION}"


def run_testbed(
    *arguments: str, timeout_s: float = 180, check: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs ``testbed ARGUMENTS`` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "testbed", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False,
        env=os.environ | env,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"testbed {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def wait_for(what: str, condition: Callable[[], Any], *, timeout_s: float = 60, pause_s: float = 0.1) -> Any:
    """Waits until ``condition`` gives something true, and returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if value := condition():
                return value
            problem = ""
        except Exception as error:
            problem = f": {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:.0f} s in vain: {what}{problem}")
        time.sleep(pause_s)


def condition(obj: dict[str, Any], kind: str) -> str:
    """The status of a condition of an object, or ``""``."""
    found = [item["status"] for item in obj.get("status", {}).get("conditions", []) if item["type"] == kind]
    return str(found[0]) if found else ""


@dataclass(frozen=True)
class Cluster:
    """``name`` and ``directory`` of a cluster that is up."""

    name: str
    directory: Path

    @property
    def instance(self) -> Instance:
        return load_instance(self.directory)

    def testbed(self, *arguments: str, **more: Any) -> str:
        """stdout of ``testbed ARGUMENTS --name <this>``."""
        return str(run_testbed(*arguments, TESTBED_NAME=self.name, **more).stdout)

    def apply(self, text: str) -> None:
        """Applies a manifest given as text."""
        file = self.directory / "test-manifest.yaml"
        file.write_text(text)
        self.testbed("apply", "-f", str(file))

    def get(self, *arguments: str) -> Any:
        """``testbed get ... -o json``, parsed."""
        return json.loads(self.testbed("get", *arguments, "-o", "json"))

    def pods(self, selector: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", *(["-l", selector] if selector else []))["items"]
        return found

    def ready_pods(self, selector: str = "") -> list[dict[str, Any]]:
        return [pod for pod in self.pods(selector)
                if not pod["metadata"].get("deletionTimestamp") and condition(pod, "Ready") == "True"]

    def wait_ready(self, selector: str, count: int, *, timeout_s: float = 60) -> list[dict[str, Any]]:
        """Waits until exactly ``count`` pods are ready and none is being deleted."""
        def settled() -> list[dict[str, Any]] | None:
            ready = self.ready_pods(selector)
            return ready if len(ready) == count == len(self.pods(selector)) else None

        found: list[dict[str, Any]] = wait_for(f"{count} ready pods of {selector}", settled, timeout_s=timeout_s)
        return found

    def versions(self, service: str) -> set[str]:
        """Versions of the sample that answer at a Service's address: a few requests, for it has several replicas."""
        found = set()
        for _ in range(6):
            with urllib.request.urlopen(f"http://{self.cluster_ip(service)}/", timeout=2) as answer:
                found.add(str(json.load(answer)["version"]))
        return found

    def cluster_ip(self, service: str) -> str:
        return str(self.get("service", service)["spec"]["clusterIP"])


@contextmanager
def state_home_for_test(directory: Path) -> Iterator[Path]:
    """``directory`` as the ``XDG_STATE_HOME`` of this process, for the leak check to look through."""
    leaks.STATE_ROOTS.add(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(directory))
        yield directory


@contextmanager
def bring_up_for_test(
    module: str, state_home: Path, *more: str, nodes: int = 3, profile: str = "fast"
) -> Iterator[Cluster]:
    """A cluster named after the test's module. ``more``: further arguments of ``testbed up``."""
    name = unique_name(module)
    directory = state_home / "testbed" / name
    try:
        run_testbed("up", "--name", name, "--nodes", str(nodes), "--profile", profile, *more)
        leaks.INSTANCE_IDS.add(load_instance(directory).id)
        yield Cluster(name, directory)
    finally:
        run_testbed("down", "--name", name)


def processes(cluster: Cluster, module: str) -> list[int]:
    """Pids of ``python -m <module> --instance <this cluster>``, or of its holders."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if module in words and any(word.startswith(str(cluster.directory)) for word in words):
                found.append(int(entry.name))
    return found
