from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "server"))

from http_world import make_instance
from kubectl_world import Kubectl, ServerProcess, find_kubectl

from testbed.server.kubeconfig import write_kubeconfig


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    instance = make_instance(tmp_path_factory.mktemp("clients"))
    write_kubeconfig(instance)
    (instance.directory / "gateway").mkdir()
    process = ServerProcess(instance)
    yield process
    assert process.stop() == 0, process.log.read_text()
    assert "Traceback" not in process.log.read_text(), process.log.read_text()[-3000:]


@pytest.fixture
def kubectl(server: ServerProcess) -> Kubectl:
    return Kubectl(find_kubectl(), server.instance)
