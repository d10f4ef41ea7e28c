"""Volumes of configuration in virtual time: projected ones, in-place updates, subPath, tokens, modes."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from node_world import pod, until
from simulated_world import SimulatedWorld, simulated

from testbed.api.resources import CONFIG_MAPS, SECRETS
from testbed.core.profile import KUBERNETES


def mounted(path: str = "/etc/all", **more: Any) -> dict[str, Any]:
    return {"volumeMounts": [{"name": "all", "mountPath": path, **more}]}


async def config(w: SimulatedWorld, name: str = "c", **data: str) -> None:
    await w.client.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": data}, "default")


def read(w: SimulatedWorld, path: str) -> str:
    try:
        return str(w.running().files.read(path).decode())
    except OSError:
        return ""


def test_a_projected_volume_holds_all_its_sources(tmp_path: Path) -> None:
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "color", "path": "sub/color", "mode": 0o600}]}},
        {"configMap": {"name": "absent", "optional": True}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
    ]

    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await config(w, color="red", other="x")
        secret = {"metadata": {"name": "s"}, "data": {"key": base64.b64encode(b"\x00secret").decode()}}
        await w.client.create(SECRETS, secret, "default")
        await w.create(pod("p", metadata={"labels": {"a": "b"}}, container=mounted(), spec={
            "volumes": [{"name": "all", "projected": {"sources": sources, "defaultMode": 0o440}}]}))
        await until(lambda: w.ready("p"), within_s=30)
        assert read(w, "/etc/all/sub/color") == "red"
        assert not read(w, "/etc/all/other")
        assert w.running().files.read("/etc/all/key") == b"\x00secret"
        assert read(w, "/etc/all/labels") == 'a="b"'
        claims = json.loads(base64.urlsafe_b64decode(read(w, "/etc/all/token").split(".")[1] + "=="))
        assert claims["aud"] == ["vault"]
        assert claims["sub"] == "system:serviceaccount:default:default"
        assert claims["kubernetes.io"]["pod"]["name"] == "p"
        assert claims["exp"] - claims["iat"] == 3600
        uid = (await w.get("p"))["metadata"]["uid"]
        place = w.facts.directory / "pods" / uid / "volumes" / "all" / "..data"
        assert (place / "key").stat().st_mode & 0o777 == 0o440
        assert (place / "sub" / "color").stat().st_mode & 0o777 == 0o600

    simulated(tmp_path, body)


def test_a_token_is_new_at_four_fifths_of_its_life(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await w.create(pod("p", container=mounted(), spec={"volumes": [{"name": "all", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]}}]}))
        await until(lambda: w.ready("p"), within_s=30)
        first = read(w, "/etc/all/token")
        await asyncio.sleep(470)
        assert read(w, "/etc/all/token") == first
        await asyncio.sleep(120)
        second = read(w, "/etc/all/token")
        assert second not in ("", first)
        await w.kill_agent()
        await w.start_agent()  # which remembers none
        await until(lambda: read(w, "/etc/all/token") != second)

    simulated(tmp_path, body, profile=KUBERNETES)


def test_files_change_in_place_and_a_sub_path_does_not(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        await config(w, color="red")
        await w.create(pod("p", spec={"volumes": [{"name": "all", "configMap": {"name": "c"}}]}, container={
            "volumeMounts": [{"name": "all", "mountPath": "/etc/all"},
                             {"name": "all", "mountPath": "/etc/one", "subPath": "color"}]}))
        await until(lambda: w.ready("p"))
        assert (read(w, "/etc/all/color"), read(w, "/etc/one")) == ("red", "red")
        await w.client.patch(CONFIG_MAPS, "c", {"data": {"color": "blue", "more": "1"}}, "default")
        await until(lambda: read(w, "/etc/all/color") == "blue" and read(w, "/etc/all/more") == "1")
        assert read(w, "/etc/one") == "red"
        await w.crash()
        await until(lambda: read(w, "/etc/one") == "blue" if w.containers(status="running") else False)

    simulated(tmp_path, body)


def test_a_volume_without_its_source_is_waited_for_in_upstreams_words(tmp_path: Path) -> None:
    async def body(w: SimulatedWorld) -> None:
        await w.start_agent()
        volumes = [{"name": "all", "secret": {"secretName": "s"}}]
        await w.create(pod("p", spec={"volumes": volumes}, container=mounted()))
        event = (await until(lambda: w.events("FailedMount")))[0]
        assert event["message"] == 'MountVolume.SetUp failed for volume "all" : secret "s" not found'
        app = await w.container("p")
        assert app["state"] == {"waiting": {"reason": "ContainerCreating"}}
        await w.client.create(SECRETS, {"metadata": {"name": "s"}, "data": {}}, "default")
        await until(lambda: w.ready("p"))

    simulated(tmp_path, body)
