"""How a command reaches the API of a cluster: one connection, stdlib only, so that reading answers at once.

The public Python client is ``testbed.connect()``; this is the raw door of the command line: it speaks paths and JSON.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from testbed.api.instance import Instance
from testbed.api.instance_files import instance_directory, load_instance
from testbed.api.resources import BUILT_IN, ResourceType
from testbed.errors import ApiError, ApiUnavailable, InvalidInput, api_error

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@dataclass(frozen=True)
class Answer:
    """``warnings``: what the server warned of (fields that are kept but not enforced)."""

    status: int
    body: bytes
    warnings: tuple[str, ...]

    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}


class Api:
    """Requests to one cluster's API. Errors are ``ApiError``s."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        try:
            self._token = instance.token_file.read_text().strip()
            self._tls = ssl.create_default_context(cafile=str(instance.ca_certificate))
        except OSError as error:
            raise ApiUnavailable(f"cluster {instance.name!r} has no credentials: {error}",
                                 hint=f"bring it up again: testbed down --name {instance.name}; testbed up") from error
        self._connection: http.client.HTTPSConnection | None = None

    def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None,
        content_type: str = "application/json", accept: str = "application/json",
    ) -> Answer:
        """One request and its whole answer. Raises: ApiError."""
        answer = self._send(method, path, query, body, content_type, accept, timeout_s=30)
        content = answer.read()
        warnings = tuple(_warning_text(value) for value in answer.headers.get_all("Warning", []))
        if answer.status >= 400:
            raise _error(answer.status, content)
        return Answer(answer.status, content, warnings)

    def json(self, method: str, path: str, **more: Any) -> Any:
        return self.request(method, path, **more).json()

    def lines(
        self, path: str, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Iterator[bytes]:
        """A stream (watch, followed log), line by line, until the server ends it."""
        answer = self._send("GET", path, query, None, "", accept, timeout_s=None)
        if answer.status >= 400:
            raise _error(answer.status, answer.read())
        try:
            while line := answer.readline():
                yield line
        except (OSError, http.client.HTTPException) as error:
            raise ApiUnavailable(f"the API's answer broke off: {error}") from error

    def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Any, content_type: str, accept: str,
        timeout_s: float | None,
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": accept}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        target = path + ("?" + urlencode(query) if query else "")
        for attempt in (1, 2):
            fresh = self._connection is None
            connection = self._connection or http.client.HTTPSConnection(
                "127.0.0.1", self.instance.api_port, context=self._tls, timeout=timeout_s
            )
            self._connection = connection
            try:
                if connection.sock is not None:
                    connection.sock.settimeout(timeout_s)
                connection.request(method, target, payload, headers)
                return connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._connection = None
                # A kept connection that the server has closed meanwhile is asked once more; a fresh one is not.
                if fresh or attempt == 2 or isinstance(error, TimeoutError):
                    raise ApiUnavailable(
                        f"the API of cluster {self.instance.name!r} does not answer: {error}",
                        hint=f"look at it: testbed status --name {self.instance.name}",
                    ) from error
        raise AssertionError("unreachable")

    # --- which kind is meant

    def resource(self, word: str) -> ResourceType:
        """``po``, ``pods``, ``Deployment``, ``deployments.apps``, or a custom resource's name.

        Raises: InvalidInput with the nearest known word.
        """
        lowered = word.lower()
        for resource in BUILT_IN:
            if lowered in _names(resource):
                return resource
        custom = self.custom_resources()
        for resource in custom:
            if lowered in _names(resource):
                return resource
        from testbed.cli.main import did_you_mean

        known = [name for resource in (*BUILT_IN, *custom) for name in _names(resource)]
        raise InvalidInput(f"the cluster has no kind {word!r}", hint=did_you_mean(lowered, known))

    def custom_resources(self) -> tuple[ResourceType, ...]:
        listed = self.json("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        found = []
        for item in listed.get("items", []):
            spec, names = item["spec"], item["spec"]["names"]
            version = next(version["name"] for version in spec["versions"] if version.get("served", True))
            found.append(ResourceType(
                spec["group"], version, names["plural"], names["kind"], spec["scope"] == "Namespaced",
                names.get("singular", ""), tuple(names.get("shortNames", ())),
            ))
        return tuple(found)

    def resource_of(self, obj: Mapping[str, Any]) -> ResourceType:
        """The kind of a whole object. Raises: InvalidInput when the cluster does not serve it."""
        api_version, kind = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
        for resource in BUILT_IN:
            if (resource.api_version, resource.kind) == (api_version, kind):
                return resource
        for resource in self.custom_resources():
            if (resource.api_version, resource.kind) == (api_version, kind):
                return resource
        from faults.left_out import instead

        raise InvalidInput(instead(api_version, kind)
                           or f"the cluster does not serve kind {kind!r} of {api_version!r}")


def connect(name: str) -> Api:
    """The API of a cluster that is up. Raises: EnvironmentProblem."""
    return Api(load_instance(instance_directory(name)))


def _names(resource: ResourceType) -> tuple[str, ...]:
    singular = resource.singular or resource.kind.lower()
    group = f".{resource.group}" if resource.group else ""
    return (resource.plural, singular, *resource.short_names, resource.plural + group, singular + group)


def _warning_text(header: str) -> str:
    """``299 - "text"`` as ``text``."""
    start = header.find('"')
    return header[start + 1:].rstrip('"').replace('\\"', '"') if start >= 0 else header


def _error(status: int, content: bytes) -> ApiError:
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    if isinstance(body, dict) and body.get("kind") == "Status":
        return api_error(body)
    return ApiError(content.decode(errors="replace").strip() or f"HTTP {status}", code=status)
