"""A routing plan in the form in which the gateway takes it. Pure. What it means is ``core/ingresses``; who reads it,
``compose/images/gateway/ingress_config.py`` and the simulated gateway."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from testbed.core.ingresses import Certificate, Pool, Route, RoutingPlan

Json = dict[str, Any]


def wire_plan(plan: RoutingPlan, secrets: Mapping[str, Json]) -> Json | None:
    """``secrets``: by ``namespace/name``. None: there is no Ingress of ours, and HAProxy need not run."""
    if not plan.ingresses:
        return None
    return {
        "routes": [
            {"host": one.host, "path": one.path, "exact": one.exact, "pool": one.pool, "canary": one.canary,
             "weight": one.weight}
            for one in plan.routes
        ],
        "default": plan.default, "pools": [_pool(one) for one in plan.pools],
        "certificates": [_certificate(one, secrets[one.secret]) for one in plan.certificates],
    }


def read_routes(wire: Json) -> RoutingPlan:
    """The routes and the default of ``wire_plan``'s form."""
    return RoutingPlan(
        tuple(Route(one["host"], one["path"], bool(one["exact"]), "", one["pool"], one["canary"], int(one["weight"]))
              for one in wire.get("routes", ())),
        str(wire.get("default", "")))


def _pool(pool: Pool) -> Json:
    """What is off is left out."""
    options = pool.options
    value: Json = {"name": pool.name, "endpoints": [[one.address, one.port] for one in pool.endpoints]}
    if options.retry_percent:
        value["retry_percent"] = options.retry_percent
    if options.outliers is not None:
        value["outliers"] = {"errors": options.outliers.errors, "ejection_s": options.outliers.ejection_s,
                             "cap_percent": options.outliers.cap_percent}
    if options.breaker is not None:
        value["breaker"] = {"percent": options.breaker.percent, "open_s": options.breaker.open_s}
    if options.max_connections:
        value["max_connections"] = options.max_connections
    if options.limit:
        value["limit"] = {"of": pool.name.rsplit("_", 2)[0], "requests": options.limit,
                          "period_s": options.limit_period_s}
    return value


def _certificate(certificate: Certificate, secret: Json) -> Json:
    pem = "".join(_text(secret, key) for key in ("tls.crt", "tls.key"))
    return {"name": certificate.secret, "hosts": list(certificate.hosts), "pem": pem}


def _text(secret: Json, key: str) -> str:
    try:
        text = base64.b64decode((secret.get("data") or {}).get(key, "")).decode("ascii", "replace")
    except (binascii.Error, ValueError):
        return ""
    return text if text.endswith("\n") else text + "\n"
