"""Kubeconfigs: which context is meant, who we are there, and what is refused by name."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from http_world import http_world, make_instance

from testbed.api.resources import NAMESPACES
from testbed.client import credentials as module
from testbed.client.credentials import Credentials
from testbed.client.foreign import ForeignClient
from testbed.client.kubeconfig import Access, kubeconfig_files, read_access
from testbed.errors import ApiUnavailable, EnvironmentProblem, InvalidInput, Unauthorized
from testbed.server.kubeconfig import write_kubeconfig

Json = dict[str, Any]


def config(user: Json | None = None, cluster: Json | None = None, **more: Any) -> Json:
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": "secret"} if user is None else user}], **more}


def written(folder: Path, value: Json, name: str = "config") -> Path:
    file = folder / name
    file.write_text(json.dumps(value))
    return file


def access(folder: Path, user: Json | None = None, cluster: Json | None = None, **more: Any) -> Access:
    return read_access([written(folder, config(user, cluster, **more))])


# --- which file, which context


def test_nothing_is_meant_that_nobody_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="no kubeconfig is named"):
        kubeconfig_files("", {})
    with pytest.raises(EnvironmentProblem, match="there is no kubeconfig"):
        kubeconfig_files(str(tmp_path / "none"), {})


def test_a_named_file_comes_before_the_environment(tmp_path: Path) -> None:
    one, two = written(tmp_path, config(), "one"), written(tmp_path, config(), "two")
    assert kubeconfig_files(str(one), {"KUBECONFIG": str(two)}) == (one,)
    assert kubeconfig_files("", {"KUBECONFIG": f"{two}:{tmp_path / 'none'}:{one}"}) == (two, one)


def test_files_are_merged_and_the_first_one_wins(tmp_path: Path) -> None:
    one = written(tmp_path, {"kind": "Config", "current-context": "one", "clusters": [
        {"name": "c", "cluster": {"server": "https://first:1"}}]}, "one")
    found = read_access([one, written(tmp_path, config(), "two")])
    assert (found.server, found.token, found.namespace) == ("https://first:1", "secret", "shop")


def test_a_context_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no context 'two'") as caught:
        read_access([written(tmp_path, config())], "two")
    assert "one" in caught.value.hint


@pytest.mark.parametrize(("text", "part"), [
    ("a: [", "is not YAML"), ("[]", "is not a kubeconfig"), ("kind: Pod", "is not a kubeconfig"),
    ("kind: Config\nusers: 3", "not a list"), ("kind: Config", "no current context")])
def test_what_is_no_kubeconfig(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=part):
        read_access([file])


@pytest.mark.parametrize(("user", "cluster", "part"), [
    ({"auth-provider": {"name": "gcp"}}, {}, "auth-provider"), ({"username": "a", "password": "b"}, {}, "username"),
    ({"token": "a", "as": "root"}, {}, "acting as somebody else"), ({}, {"proxy-url": "http://p"}, "proxy"),
    ({}, {"server": "10.0.0.1"}, "no address"), ({"client-certificate-data": "eA=="}, {}, "without its key"),
    ({"client-key-data": "%%"}, {}, "not base64"), ({"exec": {"apiVersion": "x"}}, {}, "no command"),
    ({"exec": {"command": "a", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}, {}, "v1alpha1"),
    ({"exec": {"command": "a", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Always"}}, {},
     "nobody to ask"),
])
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path, user: Json, cluster: Json, part: str) -> None:
    with pytest.raises(InvalidInput, match=part):
        access(tmp_path, user, cluster)


def test_files_are_beside_the_kubeconfig_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    (tmp_path / "token").write_text("from a file\n")
    found = access(tmp_path, {"tokenFile": "token", "token": "old"}, {"certificate-authority": "ca.pem"})
    assert (found.ca, found.token, found.token_file) == (b"a certificate", "", tmp_path / "token")
    with pytest.raises(EnvironmentProblem, match="cannot be read"):
        access(tmp_path, {}, {"certificate-authority": "other.pem"})


# --- who we are


def plugin(folder: Path, body: str) -> Json:
    """A user whose credentials come from a program of this body."""
    file = folder / "plugin"
    file.write_text(f"#!{sys.executable}\n{body}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "args": ["get"],
                     "env": [{"name": "WHO", "value": "me"}], "installHint": "install it", "provideClusterInfo": True}}


ASKED = """\
import json, os, sys, pathlib
count = pathlib.Path(__file__).with_name("count")
count.write_text(count.read_text() + "x" if count.exists() else "x")
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert sys.argv[1:] == ["get"] and info["spec"]["cluster"]["server"], info
status = {"token": os.environ["WHO"] + str(len(count.read_text()))}
if %r: status["expirationTimestamp"] = %r
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


async def test_a_plugin_is_asked_once_until_it_is_refused(tmp_path: Path) -> None:
    found = Credentials(access(tmp_path, plugin(tmp_path, ASKED % ("", ""))))
    assert [(await found.current()).token for _ in range(3)] == ["me1"] * 3
    assert found.refused()
    assert (await found.current()).token == "me2"


async def test_a_token_that_ends_is_renewed_before(tmp_path: Path) -> None:
    end = (datetime.now(UTC) + timedelta(seconds=module._EARLY_S + 1)).isoformat()
    found = Credentials(access(tmp_path, plugin(tmp_path, ASKED % (end, end))))
    assert (await found.current()).token == "me1"
    async with asyncio.timeout(10):
        while (await found.current()).token == "me1":  # noqa: ASYNC110  (its time is over after a second)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("body", "part"), [
    ("raise SystemExit('log in first')", "log in first"), ("print('{}')", "no ExecCredential"),
    ("import json; print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'status': {}}))", "neither")])
async def test_a_plugin_that_gives_nothing(tmp_path: Path, body: str, part: str) -> None:
    with pytest.raises(EnvironmentProblem, match=part):
        await Credentials(access(tmp_path, plugin(tmp_path, body))).current()


async def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    user = plugin(tmp_path, "")
    user["exec"]["command"] = "no-such-plugin-anywhere"
    with pytest.raises(EnvironmentProblem, match="cannot be run") as caught:
        await Credentials(access(tmp_path, user)).current()
    assert caught.value.hint == "install it"


async def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    wrong = base64.b64encode(b"no certificate").decode()
    with pytest.raises(InvalidInput, match="is none"):
        await Credentials(access(tmp_path, {}, {"certificate-authority-data": wrong})).tls()


async def test_a_client_certificate_never_becomes_a_file(tmp_path: Path) -> None:
    instance = make_instance(tmp_path)
    pem, key = (base64.b64encode(file.read_bytes()).decode()
                for file in (instance.certificate, instance.certificate_key))
    context = await Credentials(access(tmp_path, {"client-certificate-data": pem, "client-key-data": key})).tls()
    assert isinstance(context, ssl.SSLContext) and context.check_hostname
    assert names_in(tmp_path) == {"instance", "config"}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- at an API


async def test_the_testbeds_own_kubeconfig(tmp_path: Path) -> None:
    async with http_world(tmp_path) as world:
        write_kubeconfig(world.instance)
        client = ForeignClient(read_access([world.instance.kubeconfig]))
        assert {item["metadata"]["name"] for item in (await client.list(NAMESPACES)).items} >= {"default"}
        assert (await client.look("/version"))["major"] == "1"
        await client.close()


async def test_a_certificate_of_another_authority_is_not_trusted(tmp_path: Path) -> None:
    async with http_world(tmp_path) as world:
        url = f"https://127.0.0.1:{world.instance.api_port}"
        client = ForeignClient(access(tmp_path, {"token": world.token}, {"server": url}))
        with pytest.raises(ApiUnavailable, match=r"(?i)certificate"):
            await client.list(NAMESPACES)
        await client.close()
        lax = ForeignClient(access(tmp_path, {"token": world.token}, {"server": url, "insecure-skip-tls-verify": True}))
        assert (await lax.list(NAMESPACES)).items  # because its own kubeconfig says so
        await lax.close()


async def test_a_token_that_was_refused_is_read_again(tmp_path: Path) -> None:
    async with http_world(tmp_path) as world:
        write_kubeconfig(world.instance)
        ca = base64.b64encode(world.instance.ca_certificate.read_bytes()).decode()
        (tmp_path / "token").write_text("an old one")
        client = ForeignClient(access(tmp_path, {"tokenFile": "token"}, {
            "server": world.url, "certificate-authority-data": ca}))
        with pytest.raises(Unauthorized):
            await client.list(NAMESPACES)
        (tmp_path / "token").write_text(world.token)
        assert (await client.list(NAMESPACES)).items
        await client.close()
