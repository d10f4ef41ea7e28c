"""Group discovery.k8s.io, version v1: EndpointSlices."""

from __future__ import annotations

from pydantic import Field

from testbed.api.base import View
from testbed.api.core_v1 import ObjectReference
from testbed.api.meta import Resource


class EndpointConditions(View):
    ready: bool = True
    serving: bool = True
    terminating: bool = False


class Endpoint(View):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = Field(default_factory=EndpointConditions)
    target_ref: ObjectReference | None = None
    node_name: str = ""
    hostname: str = ""


class EndpointPort(View):
    name: str = ""
    port: int = 0
    protocol: str = "TCP"


class EndpointSlice(Resource):
    """Label ``kubernetes.io/service-name`` names its Service."""

    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
