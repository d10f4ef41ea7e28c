"""``testbed.connect()``: the public client, against a control plane process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kubectl_world import ServerProcess

import testbed
from testbed.errors import BadRequest, EnvironmentProblem, InvalidInput, NotFound

MANIFEST = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: "1", b: "2"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two}
"""


def test_apply_creates_changes_and_takes_away(server: ServerProcess, tmp_path: Path) -> None:
    cluster, file = server.cluster, tmp_path / "objects.yaml"
    file.write_text(MANIFEST)
    assert [item["metadata"]["name"] for item in cluster.apply(file)] == ["one", "two"]
    version = cluster.get("cm", "one")["metadata"]["resourceVersion"]
    cluster.apply(file)
    assert cluster.get("cm", "one")["metadata"]["resourceVersion"] == version
    cluster.patch("cm", "one", {"data": {"other": "kept"}})
    file.write_text(MANIFEST.replace('a: "1", b: "2"', 'a: "3"'))
    cluster.apply(file)
    assert cluster.get("cm", "one")["data"] == {"a": "3", "other": "kept"}
    cluster.delete("cm", "one", wait_s=10)
    with pytest.raises(NotFound):
        cluster.get("cm", "one")


def test_mistakes(server: ServerProcess, tmp_path: Path) -> None:
    cluster = server.cluster
    with pytest.raises(InvalidInput, match="did you mean 'pods'"):
        cluster.list("podss")
    with pytest.raises(BadRequest, match="unknown field"):
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dat": {}})
    with pytest.raises(InvalidInput, match="apiVersion and kind"):
        cluster.create({"metadata": {}})
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(InvalidInput, match="cannot be read"):
        cluster.apply(tmp_path / "broken.yaml")


def test_wait_and_watch(server: ServerProcess) -> None:
    cluster = server.cluster
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w"}, "data": {"a": "1"}})
    assert cluster.wait("cm", "w", until=lambda obj: obj["data"]["a"] == "1", timeout_s=5)["data"] == {"a": "1"}
    with pytest.raises(TimeoutError, match="Available within 1 s"):
        cluster.wait("cm", "w", until="Available", timeout_s=1)
    first = next(cluster.watch("cm", field_selector="metadata.name=w"))
    assert (first.type, first.object["metadata"]["name"]) == ("ADDED", "w")


def test_a_cluster_that_is_not_up_says_how_to_start_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="testbed up --name nothing"):
        testbed.connect("nothing")


def test_importing_the_client_loads_nothing_heavy() -> None:
    heavy = ("pydantic", "aiohttp", "requests", "docker", "rich", "numpy")
    program = f"import sys, testbed; testbed.connect; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
