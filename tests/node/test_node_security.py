"""What a manifest can get out of a node: only what containers here may have, and never a word that a shell reads."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_world import pod, until
from simulated_world import SimulatedWorld, simulated

from testbed.api.core_v1 import Pod, Secret
from testbed.api.resources import SECRETS
from testbed.core.environment import MissingConfig, Sources
from testbed.node.container_specs import Refused, container_spec, sandbox_spec
from testbed.node.facts import NodeFacts
from testbed.node.volumes import container_mounts, volume_path, write_volumes
from testbed.runtime.containers import ContainerSpec
from testbed.runtime.docker_translate import create_body

NASTY = ["; touch canary", "$(touch canary)", "`touch canary`", "| touch canary", "a\nb", "--privileged", "-v/:/host",
         "../../etc/passwd", "\N{RIGHT-TO-LEFT OVERRIDE}x", "x" * 65536, "", "$HOME", "%s", "{{.State}}", "\\", "'\""]
DANGEROUS: dict[str, Any] = {
    "hostPID": True, "hostIPC": True, "hostUsers": True, "shareProcessNamespace": True,
    "runtimeClassName": "runc-privileged", "securityContext": {
        "sysctls": [{"name": "kernel.core_pattern", "value": "|/canary"}],
        "seccompProfile": {"type": "Unconfined"}, "seLinuxOptions": {"type": "spc_t"},
    },
}


def facts(directory: Path) -> NodeFacts:
    return NodeFacts(
        name="n1", instance_id="7e570d0de002", instance_name="t", pod_cidr="10.99.1.0/24", address="10.99.0.1",
        network="net", cgroup="/testbed-7e570d0de002/n1", directory=directory, cpu="4", memory="8Gi",
    )


def sources(**secrets: Secret) -> Sources:
    return Sources(config_map=lambda name: None, secret=secrets.get)


def parsed(manifest: dict[str, Any]) -> Pod:
    manifest["metadata"] |= {"uid": "0a", "namespace": "default"}
    return Pod.model_validate(manifest)


def spec_of(value: Pod, directory: Path = Path("/nowhere")) -> ContainerSpec:
    return container_spec(facts(directory), value, value.spec.containers[0], 0, sandbox="s" * 64, env=(), mounts=())


# --- row 5: words of a manifest


@given(st.lists(st.sampled_from(NASTY) | st.text(max_size=20), min_size=1, max_size=5))
def test_security_row5_every_word_is_one_argument_whatever_it_says(words: list[str]) -> None:
    words = [word.replace("$(", "$$(").replace("\0", "") for word in words]
    value = parsed(pod("web", container={"command": ["program", *words], "args": words, "workingDir": words[0]}))
    body = create_body(spec_of(value), "cgroupfs")
    said = [word.replace("$$(", "$(") for word in words]
    assert (len(body["Entrypoint"]), len(body["Cmd"])) == (1 + len(said), len(said))
    assert body["Cmd"] == [word.replace("$$", "$") for word in said]
    assert body["WorkingDir"] == words[0]


@pytest.mark.parametrize("word", NASTY)
def test_security_row5_a_secrets_value_is_one_variable(tmp_path: Path, word: str) -> None:
    value = parsed(pod("web"))
    spec = container_spec(
        facts(tmp_path), value, value.spec.containers[0], 0, sandbox="s", env=(("A", word),), mounts=(),
    )
    assert create_body(spec, "cgroupfs")["Env"] == [f"A={word}"]


# --- row 6: rights


def test_security_row6_nothing_of_the_host_reaches_the_engine(tmp_path: Path) -> None:
    """What the API keeps for kubectl's sake (hostPID, sysctls, seccomp ...) asks the engine for nothing."""
    value = parsed(pod("web", spec=DANGEROUS, container={"securityContext": {
        "allowPrivilegeEscalation": True, "procMount": "Unmasked", "seccompProfile": {"type": "Unconfined"}}}))
    for spec in (spec_of(value), sandbox_spec(facts(tmp_path), value, 0, "10.99.1.2", (), "c")):
        config = create_body(spec, "cgroupfs")["HostConfig"]
        assert config["SecurityOpt"] == ["no-new-privileges"]
        assert not config["PidMode"] and not config["Sysctls"] and not config["CapAdd"] and not config["PortBindings"]
        assert config["NetworkMode"] in ("net", "container:" + "s" * 64)
        assert config["IpcMode"] in ("shareable", "container:" + "s" * 64)
        assert not set(config) & {"Privileged", "Devices", "DeviceRequests", "DeviceCgroupRules", "Binds",
                                  "VolumesFrom", "UsernsMode", "UTSMode", "Runtime", "MaskedPaths", "StorageOpt"}
        assert config["PidsLimit"] > 0 and config["RestartPolicy"] == {"Name": "no"}
        assert {"MKNOD", "NET_RAW", "SYS_CHROOT"} <= {*config["CapDrop"]} or config["CapDrop"] == ["ALL"]


@pytest.mark.parametrize(("spec", "security"), [
    ({}, {"privileged": True}), ({"hostNetwork": True}, {}),
    *(({}, {"capabilities": {"add": [name]}}) for name in ("SYS_ADMIN", "NET_ADMIN", "sys_ptrace", "CAP_BPF", "ALL")),
])
def test_security_row6_what_would_be_a_way_out_is_refused(spec: dict[str, Any], security: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        spec_of(parsed(pod("web", spec=spec, container={"securityContext": security})))


def test_a_cluster_that_was_started_so_has_privileged_containers() -> None:
    allowed = replace(facts(Path("/nowhere")), allow_privileged=True)
    asks = {"privileged": True, "capabilities": {"add": ["SYS_ADMIN"]}}
    value = parsed(pod("web", container={"securityContext": asks}))
    made = container_spec(allowed, value, value.spec.containers[0], 0, sandbox="s" * 64, env=(), mounts=())
    config = create_body(made, "cgroupfs")["HostConfig"]
    assert config["Privileged"] is True
    assert config["CapAdd"] == ["SYS_ADMIN"]
    assert config["SecurityOpt"] == []
    plain = parsed(pod("web"))
    made = container_spec(allowed, plain, plain.spec.containers[0], 0, sandbox="s" * 64, env=(), mounts=())
    config = create_body(made, "cgroupfs")["HostConfig"]
    assert "Privileged" not in config and config["SecurityOpt"] == ["no-new-privileges"]


@pytest.mark.parametrize("volume", [
    {"hostPath": {"path": "/"}}, {"hostPath": {"path": "/var/run/docker.sock"}}, {"nfs": {"server": "x", "path": "/"}},
])
def test_security_row6_nothing_of_the_host_is_mounted(tmp_path: Path, volume: dict[str, Any]) -> None:
    value = parsed(pod("web", spec={"volumes": [{"name": "v", **volume}]}))
    with pytest.raises(MissingConfig, match="of a kind that nodes here do not have"):
        write_volumes(facts(tmp_path), value, sources())


# --- row 7: paths


@pytest.mark.parametrize("path", ["..", "../../etc", "/etc", "a/../../..", "link", "link/deeper"])
def test_security_row7_a_sub_path_stays_in_its_volume(tmp_path: Path, path: str) -> None:
    value = parsed(pod("web", spec={"volumes": [{"name": "v", "emptyDir": {}}]}, container={
        "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": path}]}))
    write_volumes(facts(tmp_path), value, sources())
    (volume_path(facts(tmp_path), value, value.spec.volumes[0]) / "link").symlink_to("/etc")
    with pytest.raises(MissingConfig, match="leaves its volume"):
        container_mounts(facts(tmp_path), value, value.spec.containers[0], 0)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "..data", "..1/x"])
def test_security_row7_a_file_of_a_secret_stays_in_its_volume(tmp_path: Path, path: str) -> None:
    secret = Secret.model_validate({"metadata": {"name": "s", "namespace": "default"},
                                    "data": {"k": base64.b64encode(b"v").decode()}})
    value = parsed(pod("web", spec={"volumes": [
        {"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": path}]}}]}))
    with pytest.raises(MissingConfig):
        write_volumes(facts(tmp_path), value, sources(s=secret))
    assert not list(tmp_path.rglob("x"))


# --- row 9: probes


@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1", "localhost", "10.99.1.3"])
def test_security_row9_a_probe_goes_to_its_own_pod_only(tmp_path: Path, host: str) -> None:
    async def body(w: SimulatedWorld) -> None:
        asked: list[str] = []
        real = asyncio.get_running_loop().network.connect  # type: ignore[attr-defined]

        async def connect(factory: Any, address: str, port: int) -> Any:
            asked.append(address)
            return await real(factory, address, port)

        asyncio.get_running_loop().network.connect = connect  # type: ignore[attr-defined]
        await w.start_agent()
        await w.create(pod("web", container={"readinessProbe": {
            "httpGet": {"path": "/", "port": 8080, "host": host}, "periodSeconds": 1}}))
        await until(lambda: w.events("Unhealthy"))
        assert "goes to its own pod only" in (await w.events("Unhealthy"))[0]["message"]
        assert host not in asked
        assert not await w.ready("web")

    simulated(tmp_path, body)


# --- row 10: secrets


def test_security_row10_i16_a_canary_in_a_secret_is_found_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through a start, a crash, a back-off, a failed pod and a broken volume, at the loudest level of logging."""
    canary = "c4n4ry-9f2e"

    async def body(w: SimulatedWorld) -> None:
        agent = await w.start_agent()
        await w.client.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"password": canary}}, "default")
        env = {"env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
                       {"name": "URL", "value": "https://user:$(PASSWORD)@db"}]}
        await w.create(pod("web", container=env))
        await w.create(pod("bad", container={**env, "command": ["false"]}))
        await w.create(pod("gone", container=env, image="no-such-image:1"))
        await w.create(pod("vol", spec={"volumes": [
            {"name": "v", "secret": {"secretName": "s", "items": [{"key": "another", "path": "x"}]}}]}))
        await until(lambda: w.ready("web"))
        assert ("PASSWORD", canary) in next(
            item for item in w.containers(status="running")).spec.env  # it is there, where it belongs
        process = await w.host.identify(w.containers(status="running")[0].process.pid)
        await w.host.signal(process, 9)
        await until(lambda: w.events("BackOff"))
        await asyncio.sleep(10)
        told = [str(await w.get(name)) for name in ("web", "bad", "gone", "vol")]
        told += [str(item) for item in await w.events()] + [caplog.text]
        told += [(tmp_path / "node" / "checkpoint.json").read_text()]
        told += [str(dict(item.spec.labels)) for item in w.machine.containers.values()]
        told += [str(vars(agent.measures))]
        encoded = base64.b64encode(canary.encode()).decode()
        assert not [text for text in told if canary in text or encoded in text]

    with caplog.at_level("DEBUG"):
        simulated(tmp_path, body)
