"""compose.yaml: what Compose itself would say of it, and what each of its profiles promises."""

from __future__ import annotations

import importlib.resources
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from testbed.cli.monitor import compose_variables
from testbed.machines.monitoring_config import dashboard_provider, data_source
from testbed.machines.monitoring_plan import PARTS
from testbed.runtime.contexts import context_files

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "compose/compose.yaml"
PROFILES = ("monitoring", "load", "testbed")
SERVICES = {"prometheus": "monitoring", "alertmanager": "monitoring", "grafana": "monitoring", "locust": "load",
            "locust-worker": "load", "testbed": "testbed"}


def interpolated(text: str, variables: dict[str, str] | None = None) -> Json:
    """The file as Compose reads it. An unset variable without a default fails: no profile may need another's."""
    known = variables or {}

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        assert name in known or default is not None, f"{name} has no default"
        return known.get(name) or default or ""

    found: Json = YAML(typ="safe").load(re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", value, text))
    return found


@pytest.fixture(scope="module")
def composed() -> Json:
    return interpolated(FILE.read_text())


def test_the_file_is_what_the_compose_specification_allows(composed: Json) -> None:
    """Its schema as check-jsonschema carries it."""
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    validator = Draft202012Validator(json.loads(schema.read_text()))
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(composed)] == []
    assert list(validator.iter_errors({**composed, "services": {"web": {"imagge": "x"}}})), "it does find mistakes"


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_itself_accepts_each_profile(profile: str, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    version = subprocess.run([docker, "compose", "version", "--short"], capture_output=True, text=True,
                             check=False).stdout if docker else ""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers < (2, 23, 1):
        pytest.skip("docker compose 2.23.1 or newer is not here")
    done = subprocess.run([docker or "", "compose", "-f", str(FILE), "--profile", profile, "config", "-q"],
                          capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_each_service_belongs_to_one_profile(composed: Json) -> None:
    assert {name: service["profiles"] for name, service in composed["services"].items()} == {
        name: [profile] for name, profile in SERVICES.items()}


def test_images_are_those_that_monitor_up_would_take(composed: Json) -> None:
    assert {name: composed["services"][name]["image"] for name in ("prometheus", "alertmanager", "grafana")} == {
        part.name: part.image for part in PARTS}


def test_nobody_but_this_machine_reaches_what_listens(composed: Json) -> None:
    services = composed["services"]
    assert all(service["network_mode"] == "host" and "ports" not in service for service in services.values())
    for name in ("prometheus", "alertmanager"):
        listens = [word for word in services[name]["command"] if "listen-address" in word]
        assert any(word.startswith("--web.listen-address=127.0.0.1:") for word in listens)
        assert all("=127.0.0.1:" in word or word == "--cluster.listen-address=" for word in listens)
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    words = services["locust"]["command"]
    assert [words[words.index(flag) + 1] for flag in ("--web-host", "--master-bind-host")] == ["127.0.0.1"] * 2


def test_grafana_is_provisioned_as_monitor_up_does_it() -> None:
    def read(name: str) -> Json:
        found: Json = YAML(typ="safe").load((ROOT / "compose/grafana/provisioning" / name).read_text())
        return found

    assert read("datasources/prometheus.yaml") == data_source("127.0.0.1:9090")
    assert read("dashboards/testbed.yaml") == dashboard_provider("/dashboards")


def test_without_its_variables_monitoring_does_not_start_and_says_what_is_missing(composed: Json) -> None:
    assert composed["secrets"] == {"token": {"file": "/unset/token"}, "ca": {"file": "/unset/ca.crt"}}
    assert "https://127.0.0.1:unset/" in composed["configs"]["prometheus"]["content"]


def test_the_variables_that_monitor_config_prints_are_all_that_monitoring_needs() -> None:
    text = FILE.read_text()
    named = {name for name in re.findall(r"\$\{(TESTBED_\w+)", text)} - {"TESTBED_IMAGE", "TESTBED_VOLUME"}
    assert named == set(compose_variables("default", 6443, "/state/default", 1000))
    found = interpolated(text, compose_variables("shop", 6443, "/state/shop", 1000))
    assert found["secrets"]["token"]["file"] == "/state/shop/token"
    assert found["services"]["prometheus"]["user"] == "1000:65534"


def test_the_products_state_lies_where_the_engine_finds_it_too(composed: Json) -> None:
    product = composed["services"]["testbed"]
    (state,) = [volume for volume in product["volumes"] if isinstance(volume, dict)]
    assert state["target"] == product["environment"]["XDG_STATE_HOME"]
    assert f"/volumes/{composed['volumes'][state['source']]['name']}/_data" in state["target"]


def test_the_products_image_is_made_of_what_its_dockerfile_copies_and_locked(tmp_path: Path) -> None:
    text = (ROOT / "compose/images/testbed/Dockerfile").read_text()
    assert "ARG BASE=debian:bookworm-slim\nFROM ${BASE}" in text
    assert "--require-hashes" in text
    assert re.findall(r"^COPY (.+)", text, re.M) == ["requirements.txt dist/ /tmp/product/"]
    sent = {"requirements.txt", "dist/a.whl", "dist/wheels/b.whl", "compose/images/testbed/Dockerfile"}
    for name in (*sent, "secret", "dist/secret", ".git/config", "compose/compose.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in context_files(tmp_path)} == {*sent, ".dockerignore"}
