"""Reads kubeconfig files: which API, by which certificate it is known, and who we are there.

Decides only what the files say; they are merged as kubectl does (the first one that names something wins), and what
would be needed but is not understood here is refused by name, never left out. How credentials become a token is
``credentials``'; how the API is spoken to, ``foreign``'s.
Source: kubernetes client-go tools/clientcmd/api/v1/types.go, loader.go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from testbed.errors import EnvironmentProblem, InvalidInput

Json = dict[str, Any]
MAX_BYTES = 4 << 20
_REFUSED_OF_CLUSTER = {"proxy-url": "a proxy between here and the API"}
_REFUSED_OF_USER = {
    "auth-provider": "kubernetes has removed it; use an exec plugin", "username": "kubernetes has removed basic auth",
    "password": "kubernetes has removed basic auth", "as": "acting as somebody else", "as-groups": "acting as others",
    "as-uid": "acting as somebody else", "as-user-extra": "acting as somebody else",
}


@dataclass(frozen=True)
class Plugin:
    """An exec credential plugin: ``argv``, its extra ``environment``, and what its answer must be."""

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    api_version: str
    install_hint: str = ""
    cluster_info: Json | None = None


@dataclass(frozen=True)
class Access:
    """One context of a kubeconfig.

    Attributes:
        server: ``https://host:port``, perhaps with a path. ca: PEM of who signed its certificate; b"": the system's.
        insecure: the file says that the server's certificate is not to be looked at.
        certificate, key: PEM of a client certificate. token, token_file, plugin: at most one of these.
    """

    context: str
    cluster: str
    server: str
    namespace: str
    ca: bytes = b""
    insecure: bool = False
    server_name: str = ""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: Path | None = None
    plugin: Plugin | None = None


def kubeconfig_files(option: str, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that are meant: ``option``, else ``$KUBECONFIG``. A default that nobody named is not used: what is
    broken there would be broken by mistake.

    Raises: EnvironmentProblem when none is named or there.
    """
    named = option or environment.get("KUBECONFIG", "")
    files = tuple(Path(part).expanduser() for part in named.split(":") if part)
    if not files:
        raise EnvironmentProblem("no kubeconfig is named", hint="give --kubeconfig FILE or set KUBECONFIG, "
                                                                "for example ~/.kube/config")
    there = tuple(file for file in files if file.is_file())
    if not there or (option and len(there) < len(files)):
        missing = next(file for file in files if file not in there)
        raise EnvironmentProblem(f"there is no kubeconfig {missing}", hint="see: kubectl config view")
    return there


def read_access(files: Sequence[Path], context: str = "") -> Access:
    """The context of that name, or the current one.

    Raises: InvalidInput: the files are not kubeconfigs, or ask for what is not supported.
    """
    merged = _merged(files)
    name = context or merged.current
    if not name:
        raise InvalidInput("the kubeconfig has no current context", hint="give --context; it has: "
                                                                         + _names(merged.contexts))
    chosen, _ = merged.part("context", name)
    cluster_name, user_name = str(chosen.get("cluster") or ""), str(chosen.get("user") or "")
    cluster, cluster_folder = merged.part("cluster", cluster_name)
    user, user_folder = merged.part("user", user_name) if user_name else ({}, cluster_folder)
    _refuse(cluster, _REFUSED_OF_CLUSTER, f"cluster {cluster_name!r}")
    _refuse(user, _REFUSED_OF_USER, f"user {user_name!r}")
    server = str(cluster.get("server") or "").rstrip("/")
    if urlsplit(server).scheme not in ("http", "https") or not urlsplit(server).hostname:
        raise InvalidInput(f"cluster {cluster_name!r} of the kubeconfig has no address: server is {server!r}")
    insecure = bool(cluster.get("insecure-skip-tls-verify"))
    ca = _data(cluster, "certificate-authority", cluster_folder)
    certificate, key = (_data(user, what, user_folder) for what in ("client-certificate", "client-key"))
    if bool(certificate) != bool(key):
        raise InvalidInput(f"user {user_name!r} of the kubeconfig has a client certificate without its key, or a key "
                           "without a certificate")
    token = str(user.get("token") or "")
    token_file = user_folder / str(user["tokenFile"]) if user.get("tokenFile") else None
    plugin = _plugin(user["exec"], user_name, user_folder, cluster) if user.get("exec") else None
    return Access(
        context=name, cluster=cluster_name, server=server, namespace=str(chosen.get("namespace") or "default"),
        ca=ca, insecure=insecure, server_name=str(cluster.get("tls-server-name") or ""), certificate=certificate,
        key=key, token="" if token_file else token, token_file=token_file,
        plugin=None if token or token_file else plugin)


# --- the files


@dataclass(frozen=True)
class _Merged:
    """Named parts of all files, each with the folder that its relative paths begin at."""

    current: str
    contexts: dict[str, tuple[Json, Path]]
    clusters: dict[str, tuple[Json, Path]]
    users: dict[str, tuple[Json, Path]]

    def part(self, what: str, name: str) -> tuple[Json, Path]:
        """Raises: InvalidInput when there is none of this name."""
        known = {"context": self.contexts, "cluster": self.clusters, "user": self.users}[what]
        if name not in known:
            raise InvalidInput(f"the kubeconfig has no {what} {name!r}", hint=f"it has: {_names(known)}")
        return known[name]


def _names(known: Mapping[str, object]) -> str:
    return ", ".join(sorted(known)) or "none"


def _merged(files: Sequence[Path]) -> _Merged:
    found = _Merged("", {}, {}, {})
    current = ""
    for file in files:
        value = _read(file)
        current = current or str(value.get("current-context") or "")
        for plural, single, into in (("contexts", "context", found.contexts), ("clusters", "cluster", found.clusters),
                                     ("users", "user", found.users)):
            for item in _list(value, plural, file):
                body = item.get(single) or {}
                if not isinstance(body, dict):
                    raise InvalidInput(f"{file}: {single} of {item.get('name')!r} is not a mapping")
                into.setdefault(str(item.get("name")), (body, file.resolve().parent))
    return _Merged(current, found.contexts, found.clusters, found.users)


def _list(value: Json, plural: str, file: Path) -> list[Json]:
    items = value.get(plural) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidInput(f"{file}: {plural} is not a list of named parts")
    return items


def _read(file: Path) -> Json:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if file.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{file} is too large for a kubeconfig")
        value = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise EnvironmentProblem(f"{file} cannot be read: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(value, dict) or value.get("kind", "Config") != "Config":
        raise InvalidInput(f"{file} is not a kubeconfig: its kind is not Config")
    return value


def _refuse(part: Json, reasons: Mapping[str, str], what: str) -> None:
    for field, reason in reasons.items():
        if part.get(field):
            raise InvalidInput(f"{what} of the kubeconfig uses {field}, which is not supported: {reason}")


def _data(part: Json, name: str, folder: Path) -> bytes:
    """``<name>-data`` in base64, or the file ``<name>``. Raises: InvalidInput, EnvironmentProblem."""
    inline, file = part.get(f"{name}-data"), part.get(name)
    if inline:
        try:
            return base64.b64decode(str(inline), validate=True)
        except binascii.Error as error:
            raise InvalidInput(f"{name}-data of the kubeconfig is not base64: {error}") from error
    if not file:
        return b""
    try:
        return (folder / str(file)).read_bytes()
    except OSError as error:
        raise EnvironmentProblem(f"{name} of the kubeconfig, {folder / str(file)}, cannot be read: "
                                 f"{error.strerror}") from error


def _plugin(spec: Any, user: str, folder: Path, cluster: Json) -> Plugin:
    """Raises: InvalidInput."""
    if not isinstance(spec, dict) or not spec.get("command"):
        raise InvalidInput(f"exec of user {user!r} of the kubeconfig has no command")
    version = str(spec.get("apiVersion") or "")
    if version not in ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"):
        raise InvalidInput(f"exec of user {user!r} of the kubeconfig is of {version!r}, which is not supported",
                           hint="supported: client.authentication.k8s.io/v1")
    if spec.get("interactiveMode") == "Always":
        raise InvalidInput(f"exec of user {user!r} of the kubeconfig asks a person each time, and a run has nobody to "
                           "ask", hint="use a token or a certificate")
    command = str(spec["command"])
    if "/" in command:
        command = str(folder / command)
    info = None
    if spec.get("provideClusterInfo"):
        info = {key: cluster[key] for key in ("server", "certificate-authority-data", "insecure-skip-tls-verify",
                                              "tls-server-name") if cluster.get(key)}
    environment = tuple((str(item.get("name")), str(item.get("value"))) for item in spec.get("env") or ())
    return Plugin((command, *map(str, spec.get("args") or ())), environment, version,
                  str(spec.get("installHint") or "").strip(), info)
