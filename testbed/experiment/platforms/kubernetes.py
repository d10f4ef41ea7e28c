"""The platform that is any Kubernetes cluster of a kubeconfig, with Chaos Mesh for the faults.

What the testbed's own daemon does for a run is done here where it is missing: kinds and rights are looked at before
anything starts, whom a fault hits is chosen and limited before it is made (``guarded``), and how a Service is reached
from this machine is found out (``services``). What cannot be known of such a cluster (its timing constants) is assumed
to be upstream's default, and said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from testbed.api.labels import RUN
from testbed.api.resources import NAMESPACES, PODS, ResourceType
from testbed.client.kubeconfig import Access
from testbed.client.protocol import Client
from testbed.core.profile import KUBERNETES, Profile
from testbed.errors import AlreadyExists, ApiError, EnvironmentProblem, Forbidden, NotFound, TestbedError, Unauthorized
from testbed.experiment.applying import remove
from testbed.experiment.kind import ClusterSpec
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.platforms.cluster_checks import (
    OURS,
    check_kinds,
    check_rights,
    faults_of,
    rights_for,
    served_kinds,
)
from testbed.experiment.platforms.from_here import FromHere
from testbed.experiment.platforms.guarded import GuardedClient
from testbed.experiment.platforms.profile_words import timing_of
from testbed.experiment.platforms.protocol import ClusterSource, Platform, Timing
from testbed.experiment.platforms.services import Reach
from testbed.experiment.platforms.surroundings import environment_of
from testbed.experiment.result import Environment

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
NAMESPACE_GONE_S = 60.0
_NODE_CHAOS = ResourceType(OURS, "v1alpha1", "nodechaos", "NodeChaos")


class KubernetesPlatform(FromHere):
    """A cluster that others run. ``addresses``: where a person says that a Service is reached."""

    name = "kubernetes"
    ours = False

    def __init__(self, access: Access, client: GuardedClient, addresses: Mapping[str, str]) -> None:
        self.access, self.cluster = access, access.context
        self.version = ""
        self._client = client
        self._reach = Reach(client, addresses)
        self._made_namespaces: list[str] = []

    @property
    def client(self) -> Client:
        return self._client

    @property
    def profile(self) -> Profile:
        return KUBERNETES

    def timing(self) -> Timing:
        return (("cluster", f"{self.cluster}, {self.version}"),
                ("its constants", "not told by its API; upstream's defaults are assumed"), *timing_of(KUBERNETES)[1:])

    # --- before a run

    async def connect(self) -> str:
        """The version of the API. Raises: EnvironmentProblem: it is not there, or will not have us."""
        try:
            answer = await self._client.look("/version")
        except (Unauthorized, Forbidden) as error:
            raise EnvironmentProblem(f"the API at {self.access.server} does not know us (context "
                                     f"{self.cluster!r}): {error.message}",
                                     hint="see: kubectl --context NAME version; renew the kubeconfig's credentials") \
                from error
        except ApiError as error:
            raise EnvironmentProblem(f"platform kubernetes is not there: {error.message}",
                                     hint=f"is the cluster of context {self.cluster!r} up and reachable from "
                                          "here?") from error
        self.version = str(answer.get("gitVersion") or "of unknown version")
        self._client.guards = not await served_kinds(self._client, [_NODE_CHAOS])
        return self.version

    async def prepare(self, loaded: LoadedExperiment) -> tuple[str, ...]:
        await check_kinds(self._client, loaded)
        namespace = loaded.experiment.spec.namespace
        missing = await self._namespace_missing(namespace)
        notes = list(await check_rights(self._client, rights_for(
            loaded, makes_namespace=missing, guards=self._client.guards)))
        if missing:
            await self._make_namespace(namespace)
        if faults_of(loaded) and self._client.guards:
            notes.append("Chaos Mesh tells the moment of an injection by its object's status only: it lies between "
                         "the creation of the object and the arrival of that status")
        return tuple(notes)

    async def _namespace_missing(self, name: str) -> bool:
        """Raises: EnvironmentProblem for one that is being deleted."""
        try:
            found = await self._client.get(NAMESPACES, name)
        except NotFound:
            return True
        if found["metadata"].get("deletionTimestamp"):
            raise EnvironmentProblem(f"namespace {name!r} is being deleted", hint="wait until it is gone")
        return False

    async def _make_namespace(self, name: str) -> None:
        try:
            await self._client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace",
                                                   "metadata": {"name": name, "labels": {RUN: "true"}}})
        except AlreadyExists:
            return
        self._made_namespaces.append(name)

    async def clean(self) -> list[str]:
        """Removes the namespaces that were made here. Returns: what is left."""
        try:
            return await remove(self._client, [(NAMESPACES, None, name) for name in self._made_namespaces],
                                NAMESPACE_GONE_S)
        except TestbedError as error:  # credentials that are not renewed any more
            return [f"namespace {', '.join(self._made_namespaces)}: {error.message}"]

    # --- during a run

    async def address(self, namespace: str, service: str, port: int | None) -> str:
        return await self._reach.address(namespace, service, port)

    async def logs(self, namespace: str, pod: str, lines: int) -> str:
        """Of the pod's default container, or its first."""
        found = await self._client.get(PODS, pod, namespace)
        named = (found["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
        container = str(named or found["spec"]["containers"][0]["name"])
        return await self._client.logs(pod, namespace, tail_lines=lines, container=container)

    async def environment(self) -> Environment:
        return (await environment_of(self._client, self.name, self.cluster)).model_copy(
            update={"api_version": self.version})


def kubernetes_source(
    access: Access, tell: Callable[[str], None], *, addresses: Mapping[str, str], keep: bool = False
) -> ClusterSource:
    """Opens the cluster of one context. ``keep``: leave a namespace that was made for the run."""
    @asynccontextmanager
    async def opened(spec: ClusterSpec) -> AsyncIterator[Platform]:
        client = GuardedClient(access)
        platform = KubernetesPlatform(access, client, addresses)
        try:
            version = await platform.connect()
            tell(f"using the cluster of context {access.context!r} at {access.server} ({version})")
            try:
                yield platform
            finally:
                if not keep and (left := await platform.clean()):
                    tell("left in the cluster: " + "; ".join(left))
        finally:
            await client.close()

    return opened
