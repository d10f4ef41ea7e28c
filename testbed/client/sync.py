"""``testbed.connect()``: the public Python client of a cluster. Blocking calls, plain JSON in and out.

Errors are ``ApiError``s. Calls that only look are repeated when the answer stays away; calls that change something
never are, because a repeat may not be harmless.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from testbed.api.instance import Instance
from testbed.api.instance_files import instance_directory, load_instance
from testbed.api.resources import BUILT_IN, CUSTOM_RESOURCE_DEFINITIONS, PODS, ResourceType
from testbed.client.applying import three_way_patch, with_last_applied
from testbed.client.conditions import condition, rolled_out
from testbed.client.manifests import read_manifests
from testbed.client.protocol import PatchType, WatchEvent
from testbed.client.transport import Transport, pause
from testbed.client.words import find_resource, resource_of_definition, unknown_kind
from testbed.errors import ApiUnavailable, Gone, InvalidInput, NotFound, api_error

if TYPE_CHECKING:
    from testbed.client.exec import ExecResult

Json = dict[str, Any]
Objects = list[Json]
Kind = str | ResourceType


def connect(name: str = "default") -> Cluster:
    """A client of the cluster of that name on this machine.

    Raises: EnvironmentProblem when it is not up.
    """
    return Cluster.of_instance(load_instance(instance_directory(name)))


class Cluster:
    """``namespace`` is used where a call names none; ``namespace=None`` in a call means all namespaces."""

    def __init__(self, url: str, token: str, ca_file: Path, *, namespace: str = "default") -> None:
        self.namespace = namespace
        self._transport = Transport(url, token, ca_file)
        self._custom: tuple[ResourceType, ...] = ()

    @classmethod
    def of_instance(cls, instance: Instance) -> Cluster:
        """Raises: ApiUnavailable when the cluster has no credentials yet."""
        try:
            token = instance.token_file.read_text().strip()
        except OSError as error:
            raise ApiUnavailable(f"cluster {instance.name!r} has no credentials: {error}",
                                 hint=f"bring it up: testbed up --name {instance.name}") from error
        return cls(f"https://127.0.0.1:{instance.api_port}", token, instance.ca_certificate)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    # --- kinds

    def resource(self, kind: Kind) -> ResourceType:
        """``"po"``, ``"deployments"``, ``"PodChaos"`` as the kind that it names.

        Raises: InvalidInput with the nearest known word.
        """
        if isinstance(kind, ResourceType):
            return kind
        found = find_resource(kind) or find_resource(kind, self._custom)
        if found is None:
            definitions = self._transport.request("GET", CUSTOM_RESOURCE_DEFINITIONS.path())["items"]
            self._custom = tuple(map(resource_of_definition, definitions))
            found = find_resource(kind, self._custom)
        if found is None:
            raise unknown_kind(kind, (*BUILT_IN, *self._custom))
        return found

    def _resource_of(self, obj: Mapping[str, Any]) -> ResourceType:
        kind, version = str(obj.get("kind", "")), str(obj.get("apiVersion", ""))
        if not kind or not version:
            raise InvalidInput("an object needs apiVersion and kind")
        resource = self.resource(f"{kind}.{version.rpartition('/')[0]}" if "/" in version else kind)
        if resource.api_version != version:
            raise InvalidInput(f"{kind} is served as {resource.api_version}, not {version}")
        return resource

    def _place(self, resource: ResourceType, namespace: str | None) -> str | None:
        return (namespace or self.namespace) if resource.namespaced else None

    # --- reading

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        """Raises: NotFound, ApiUnavailable."""
        resource = self.resource(kind)
        return self._transport.request("GET", resource.path(self._place(resource, namespace), name))

    def list(
        self, kind: Kind, namespace: str | None = "", *, label_selector: str = "", field_selector: str = "",
    ) -> Objects:
        """Raises: BadRequest, ApiUnavailable."""
        return self._list(self.resource(kind), namespace, label_selector, field_selector)[0]

    def _list(
        self, resource: ResourceType, namespace: str | None, label_selector: str, field_selector: str,
    ) -> tuple[Objects, str]:
        place = None if namespace is None else self._place(resource, namespace)
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        answer = self._transport.request("GET", resource.path(place), query)
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return [kind | item for item in answer["items"]], answer["metadata"]["resourceVersion"]

    def watch(
        self, kind: Kind, namespace: str | None = "", *, label_selector: str = "", field_selector: str = "",
        resource_version: str = "", timeout_s: float | None = None,
    ) -> Iterator[WatchEvent]:
        """What is there (as ADDED), then every change, until the server ends it or ``timeout_s`` is over.

        Raises: Gone when ``resource_version`` is too old; ApiUnavailable when the connection breaks.
        """
        resource = self.resource(kind)
        place = None if namespace is None else self._place(resource, namespace)
        query = {"watch": "true", "labelSelector": label_selector, "fieldSelector": field_selector,
                 "resourceVersion": resource_version}
        if timeout_s is not None:
            query["timeoutSeconds"] = str(max(1, round(timeout_s)))
        for line in self._transport.lines(resource.path(place), query):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise api_error(event["object"])
            yield WatchEvent(event["type"], event["object"])

    def logs(
        self, pod: str, namespace: str = "", *, container: str = "", follow: bool = False, previous: bool = False,
        tail: int | None = None, since_s: int | None = None, timestamps: bool = False,
    ) -> Iterator[str]:
        """A container's log, line by line.

        Raises: NotFound, BadRequest (which container?), ApiUnavailable (its node is cut off).
        """
        query = {"container": container, "follow": "true" if follow else "", "previous": "true" if previous else "",
                 "timestamps": "true" if timestamps else "", "tailLines": "" if tail is None else str(tail),
                 "sinceSeconds": "" if since_s is None else str(since_s)}
        for line in self._transport.lines(PODS.path(namespace or self.namespace, pod, "log"), query):
            yield line.decode(errors="replace")

    # --- writing

    def create(self, obj: Mapping[str, Any], namespace: str = "") -> Json:
        """Raises: AlreadyExists, Invalid, NotFound (its namespace)."""
        resource = self._resource_of(obj)
        place = self._place(resource, namespace or (obj.get("metadata") or {}).get("namespace"))
        return self._transport.request("POST", resource.path(place), {"fieldValidation": "Strict"}, obj)

    def apply(self, objects: Mapping[str, Any] | Iterable[Mapping[str, Any]] | str | Path,
              namespace: str = "") -> Objects:
        """Creates or changes objects: JSON, several of them, or the path of a YAML file.

        Raises: BadRequest or Invalid for the first wrong object; InvalidInput when the file cannot be read.
        """
        if isinstance(objects, str | Path):
            objects = read_manifests(Path(objects))
        elif isinstance(objects, Mapping):
            objects = [objects]
        return [self._apply(dict(item), namespace) for item in objects]

    def _apply(self, obj: Json, namespace: str) -> Json:
        resource = self._resource_of(obj)
        wanted = with_last_applied(obj)
        place = self._place(resource, namespace or obj["metadata"].get("namespace"))
        name = obj["metadata"]["name"]
        try:
            current = self.get(resource, name, place or "")
        except NotFound:
            return self.create(wanted, place or "")
        patch = three_way_patch(current, wanted)
        if not patch:
            return current
        return self.patch(resource, name, patch, place or "")

    def update(self, obj: Mapping[str, Any], *, subresource: str = "") -> Json:
        """PUT. Raises: Conflict when the object has changed since it was read."""
        resource, metadata = self._resource_of(obj), obj["metadata"]
        place = self._place(resource, metadata.get("namespace"))
        return self._transport.request("PUT", resource.path(place, metadata["name"], subresource), None, obj)

    def patch(
        self, kind: Kind, name: str, patch: Any, namespace: str = "", *, patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> Json:
        """Raises: NotFound, Invalid, Conflict."""
        resource = self.resource(kind)
        path = resource.path(self._place(resource, namespace), name, subresource)
        return self._transport.request("PATCH", path, {"fieldValidation": "Strict"}, patch,
                                       content_type=patch_type.value)

    def scale(self, kind: Kind, name: str, replicas: int, namespace: str = "") -> Json:
        """Raises: NotFound, Invalid."""
        return self.patch(kind, name, {"spec": {"replicas": replicas}}, namespace, subresource="scale")

    def delete(
        self, kind: Kind, name: str, namespace: str = "", *, grace_period_s: int | None = None,
        propagation: str = "Background", wait_s: float | None = None,
    ) -> None:
        """``wait_s``: wait until it is gone, at most so long.

        Raises: NotFound; TimeoutError when it is still there.
        """
        resource = self.resource(kind)
        body: Json = {"propagationPolicy": propagation}
        if grace_period_s is not None:
            body["gracePeriodSeconds"] = grace_period_s
        self._transport.request("DELETE", resource.path(self._place(resource, namespace), name), None, body)
        if wait_s is not None:
            self.wait(resource, name, namespace, until="delete", timeout_s=wait_s)

    def exec(
        self, pod: str, command: Iterable[str], namespace: str = "", *, container: str = "", stdin: bytes = b"",
        timeout_s: float = 60.0,
    ) -> ExecResult:
        """Runs a program in a container and returns its output and exit code. Not to be called inside a running event
        loop.

        Raises: NotFound, BadRequest, ApiUnavailable, TimeoutError.
        """
        from testbed.client.exec import run_in_container

        transport = self._transport
        return run_in_container(
            transport.url + PODS.path(namespace or self.namespace, pod, "exec"), transport.token, transport.ca_file,
            list(command), container=container, stdin=stdin, timeout_s=timeout_s)

    # --- waiting

    def wait(
        self, kind: Kind, name: str, namespace: str = "", *, until: str | Callable[[Json], bool] = "Ready",
        timeout_s: float = 60.0,
    ) -> Json:
        """Waits until the object has a condition (``"Available"``), is ``"rolled-out"``, is gone (``"delete"``) or a
        function of it holds. Returns that state.

        Raises: TimeoutError; RolloutStalled.
        """
        resource = self.resource(kind)
        place = self._place(resource, namespace)
        holds = until if callable(until) else rolled_out if until == "rolled-out" else condition(until)
        ends_at = monotonic() + timeout_s
        while (left_s := ends_at - monotonic()) > 0:
            try:
                for obj in self._states(resource, name, place, left_s):
                    if obj is None:
                        if until == "delete":
                            return {}
                    elif until != "delete" and holds(obj):
                        return obj
                    if monotonic() > ends_at:
                        break
            except (ApiUnavailable, Gone):
                pause(min(0.2, max(0.0, ends_at - monotonic())))
        wished = until if isinstance(until, str) else "its condition"
        raise TimeoutError(f"{resource.kind} {name} did not reach {wished} within {timeout_s:g} s")

    def _states(self, resource: ResourceType, name: str, place: str | None, timeout_s: float) -> Iterator[Json | None]:
        """One object as it is now, then after each change; None when it is not there."""
        field_selector = f"metadata.name={name}"
        items, version = self._list(resource, place, "", field_selector)
        yield items[0] if items else None
        for event in self.watch(resource, place, field_selector=field_selector, resource_version=version,
                                timeout_s=timeout_s):
            yield None if event.type == "DELETED" else event.object
