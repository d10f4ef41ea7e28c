"""Group networking.k8s.io, version v1: Ingresses and their classes."""

from __future__ import annotations

from pydantic import Field

from testbed.api.base import View
from testbed.api.core_v1 import ObjectReference
from testbed.api.meta import Resource

DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
LEGACY_CLASS = "kubernetes.io/ingress.class"


class ServiceBackendPort(View):
    """One of the two is set."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(View):
    name: str = ""
    port: ServiceBackendPort = Field(default_factory=ServiceBackendPort)


class IngressBackend(View):
    service: IngressServiceBackend | None = None
    resource: ObjectReference | None = None


class HttpIngressPath(View):
    path: str = ""
    path_type: str = "ImplementationSpecific"
    backend: IngressBackend = Field(default_factory=IngressBackend)


class HttpIngressRule(View):
    paths: tuple[HttpIngressPath, ...] = ()


class IngressRule(View):
    host: str = ""
    http: HttpIngressRule | None = None


class IngressTls(View):
    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(View):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    tls: tuple[IngressTls, ...] = ()
    rules: tuple[IngressRule, ...] = ()


class Ingress(Resource):
    spec: IngressSpec = Field(default_factory=IngressSpec)


class IngressClassSpec(View):
    controller: str = ""


class IngressClass(Resource):
    spec: IngressClassSpec = Field(default_factory=IngressClassSpec)
