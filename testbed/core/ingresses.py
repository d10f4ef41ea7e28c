"""Decides where a request that comes in from outside goes: Ingresses, Services and endpoints in, a routing plan out.

Pure. ``RoutingPlan.route`` is what the plan means: the simulated front asks it, and HAProxy's rules are rendered from
the same order (``compose/images/gateway/ingress_config.py``). Which Ingresses are valid is the server's to judge.

Source: kubernetes pkg/apis/networking/types.go (IngressRule, HTTPIngressPath); conflicts as in ingress-nginx: the
older Ingress has the path, one canary for each path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from testbed.api.core_v1 import Service, ServicePort
from testbed.api.discovery_v1 import EndpointSlice
from testbed.api.networking_v1 import LEGACY_CLASS, Ingress, IngressBackend, IngressClass
from testbed.core.ingress_options import Options, read_options
from testbed.core.services import Backend, backends

CONTROLLER = "testbed.io/ingress"
CLASS_NAME = "testbed"
DRAWS = 100  # a canary's weight is a share of this


@dataclass(frozen=True)
class Pool:
    """Endpoints that one Ingress sends to, and how it treats them."""

    name: str
    endpoints: tuple[Backend, ...] = ()
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Route:
    """``host``: ``""`` is any, ``*.`` leads a wildcard. ``path``: without a slash at its end. ``pool`` and ``canary``:
    names of pools. ``weight``: of 100 requests, how many go to the canary."""

    host: str
    path: str
    exact: bool
    ingress: str
    pool: str
    canary: str = ""
    weight: int = 0

    def matches(self, host: str, path: str) -> bool:
        """``host``: lower case, without a port."""
        if self.host.startswith("*."):
            label, _, rest = host.partition(".")
            if not label or rest != self.host[2:]:
                return False
        elif self.host and self.host != host:
            return False
        return path == self.path if self.exact else f"{path}/".startswith(f"{self.path}/")

    def pool_for(self, draw: int) -> str:
        """``draw``: a number below ``DRAWS``, evenly drawn."""
        return self.canary if draw < self.weight else self.pool


@dataclass(frozen=True)
class Certificate:
    """``secret``: ``namespace/name``. ``hosts``: none is: for every name that has no certificate of its own."""

    secret: str
    hosts: tuple[str, ...]
    ingress: str


@dataclass(frozen=True)
class Note:
    """Why something that an Ingress asks for is not done. ``ingress``: ``namespace/name``."""

    ingress: str
    reason: str
    message: str


@dataclass(frozen=True)
class RoutingPlan:
    """``routes``: the first that matches has the request. ``default``: the pool of what matches none, or ``""``.
    ``ingresses``: those that this plan serves."""

    routes: tuple[Route, ...] = ()
    default: str = ""
    pools: tuple[Pool, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    notes: tuple[Note, ...] = ()
    ingresses: tuple[str, ...] = ()

    def route(self, host: str, path: str) -> Route | None:
        """``host``: as the request's header has it."""
        name = host.partition(":")[0].lower()
        return next((one for one in self.routes if one.matches(name, path)), None)

    def pool_of(self, host: str, path: str, draw: int) -> str:
        """The pool of a request; ``""`` is: nobody's (404)."""
        found = self.route(host, path)
        return self.default if found is None else found.pool_for(draw)


def serves(ingress: Ingress, classes: Iterable[IngressClass]) -> bool:
    """Whether the Ingress is of a class of ours (kubernetes: ``spec.ingressClassName``, else the old annotation)."""
    name = ingress.spec.ingress_class_name
    if name is None:
        return ingress.metadata.annotations.get(LEGACY_CLASS) == CLASS_NAME
    return any(one.metadata.name == name and one.spec.controller == CONTROLLER for one in classes)


def plan_routing(
    ingresses: Iterable[Ingress], classes: Iterable[IngressClass], services: Mapping[str, Service],
    slices: Mapping[str, tuple[EndpointSlice, ...]], secrets: Mapping[str, frozenset[str]],
) -> RoutingPlan:
    """``services`` and ``slices`` (of a Service): by ``namespace/name``. ``secrets``: the keys that each has."""
    known = tuple(classes)
    mine = [one for one in ingresses if serves(one, known) and not one.metadata.deleting]
    mine.sort(key=lambda one: (str(one.metadata.creation_timestamp or ""), one.key))
    options = {one.key: read_options(one.metadata.annotations)[0] for one in mine}
    planner = _Planner(services, slices, secrets, options)
    for ingress in mine:
        if not options[ingress.key].canary:
            planner.add(ingress)
    for ingress in mine:
        if options[ingress.key].canary:
            planner.add_canary(ingress)
    return planner.plan(tuple(one.key for one in mine))


class _Planner:
    """Collects the parts of a plan, older Ingresses first. ``options``: by key of the Ingress."""

    def __init__(
        self, services: Mapping[str, Service], slices: Mapping[str, tuple[EndpointSlice, ...]],
        secrets: Mapping[str, frozenset[str]], options: Mapping[str, Options],
    ) -> None:
        self._services, self._slices, self._secrets, self._options = services, slices, secrets, options
        self._routes: dict[tuple[str, str, bool], Route] = {}
        self._pools: dict[str, Pool] = {}
        self._certificates: list[Certificate] = []
        self._certified: set[str] = set()
        self._notes: list[Note] = []
        self._default = self._default_of = ""

    def plan(self, ingresses: tuple[str, ...]) -> RoutingPlan:
        return RoutingPlan(tuple(sorted(self._routes.values(), key=_precedence)), self._default,
                           tuple(self._pools[name] for name in sorted(self._pools)), tuple(self._certificates),
                           tuple(self._notes), ingresses)

    def add(self, ingress: Ingress) -> None:
        for route in self._routes_of(ingress):
            key = (route.host, route.path, route.exact)
            if key in self._routes:
                owner = self._routes[key].ingress
                if owner != ingress.key:
                    self._note(ingress, "Shadowed", f"{_say(route)} belongs to the older Ingress {owner}")
                continue
            self._routes[key] = route
        if ingress.spec.default_backend is not None:
            if self._default:
                self._note(ingress, "Shadowed", f"the default backend is that of the older Ingress {self._default_of}")
            elif pool := self._pool(ingress, ingress.spec.default_backend):
                self._default, self._default_of = pool, ingress.key
        self._add_tls(ingress)

    def add_canary(self, ingress: Ingress) -> None:
        """Its routes take a share of the same host and path of another Ingress."""
        weight = self._options[ingress.key].canary_weight
        for route in self._routes_of(ingress):
            key = (route.host, route.path, route.exact)
            main = self._routes.get(key)
            if main is None:
                self._note(ingress, "CanaryAlone", f"{_say(route)} is of no other Ingress that this could be the "
                                                   "canary of")
            elif main.canary:
                self._note(ingress, "Shadowed", f"{_say(route)} has a canary already: {main.canary}")
            else:
                self._routes[key] = replace(main, canary=route.pool, weight=weight)

    def _routes_of(self, ingress: Ingress) -> Iterable[Route]:
        for rule in ingress.spec.rules:
            for path in rule.http.paths if rule.http else ():
                text = path.path or "/"
                exact = path.path_type == "Exact"
                if not text.isprintable():
                    self._note(ingress, "Unroutable", f"path {text!r} holds characters that no request can have")
                elif pool := self._pool(ingress, path.backend):
                    yield Route(rule.host.lower(), text if exact else text.rstrip("/"), exact, ingress.key, pool)

    def _pool(self, ingress: Ingress, backend: IngressBackend) -> str:
        """The pool's name; ``""`` when there can be none."""
        if backend.service is None:
            self._note(ingress, "Unroutable", "a backend that is a resource is not served here: name a Service")
            return ""
        key = f"{ingress.metadata.namespace}/{backend.service.name}"
        wanted = backend.service.port
        told = wanted.name or str(wanted.number)
        name = f"{ingress.key.replace('/', '_')}_{backend.service.name}_{told}"
        if name not in self._pools:
            endpoints = self._endpoints(ingress, key, wanted.name, wanted.number)
            self._pools[name] = Pool(name, endpoints, self._options[ingress.key])
        return name

    def _endpoints(self, ingress: Ingress, key: str, port_name: str, number: int) -> tuple[Backend, ...]:
        service = self._services.get(key)
        if service is None:
            self._note(ingress, "ServiceNotFound", f"there is no Service {key}: its requests are answered with 503")
            return ()
        if service.spec.type == "ExternalName":
            self._note(ingress, "Unroutable", f"Service {key} is a name outside the cluster: answered with 503")
            return ()
        port: ServicePort | None = next(
            (one for one in service.spec.ports if (one.name == port_name if port_name else one.port == number)), None)
        if port is None:
            self._note(ingress, "PortNotFound", f"Service {key} has no port {port_name or number}: its requests are "
                                                "answered with 503")
            return ()
        return backends(port, self._slices.get(key, ()))

    def _add_tls(self, ingress: Ingress) -> None:
        for item in ingress.spec.tls:
            if not item.secret_name:
                continue
            secret = f"{ingress.metadata.namespace}/{item.secret_name}"
            keys = self._secrets.get(secret)
            if keys is None:
                self._note(ingress, "SecretNotFound", f"there is no Secret {secret}: no TLS for {_hosts(item.hosts)}")
            elif not {"tls.crt", "tls.key"} <= keys:
                self._note(ingress, "SecretIncomplete", f"Secret {secret} has no tls.crt or no tls.key: no TLS for "
                                                        f"{_hosts(item.hosts)}")
            else:
                fresh = tuple(host.lower() for host in item.hosts if host.lower() not in self._certified)
                if fresh or not item.hosts:
                    self._certified.update(fresh)
                    self._certificates.append(Certificate(secret, fresh, ingress.key))

    def _note(self, ingress: Ingress, reason: str, message: str) -> None:
        note = Note(ingress.key, reason, message)
        if note not in self._notes:
            self._notes.append(note)


def _precedence(route: Route) -> tuple[object, ...]:
    """Exact host over wildcard over none; the longest path; of equal ones Exact before Prefix."""
    rank = 2 if not route.host else 1 if route.host.startswith("*.") else 0
    return (rank, -len(route.host), route.host, -len(route.path), not route.exact, route.path)


def _say(route: Route) -> str:
    return f"{route.host or '*'}{route.path or '/'}"


def _hosts(hosts: tuple[str, ...]) -> str:
    return ", ".join(hosts) or "any host"
