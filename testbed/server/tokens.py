"""``serviceaccounts/<name>/token``: signed statements of who a pod is. Pure.

Decides their claims and lifetimes. They say who somebody is to whoever holds the cluster's key; this API takes none of
them, since it does not enforce roles: a pod's token must not open the whole cluster.
Source: kubernetes pkg/registry/core/serviceaccount/storage/token.go, pkg/serviceaccount/claims.go.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from testbed.api.meta import format_time
from testbed.errors import BadRequest, Conflict
from testbed.server.causes import Causes
from testbed.server.fields import checked

Json = dict[str, Any]
ISSUER = "https://kubernetes.default.svc.cluster.local"
SHORTEST_S, LONGEST_S, DEFAULT_S = 600, 1 << 32, 3600


def signing_key(secret: str) -> bytes:
    """Of this cluster's own secret, which it does not give away."""
    return hmac.digest(secret.encode(), b"service account tokens", hashlib.sha256)


def check_lifetime(seconds: int, path: str, causes: Causes) -> None:
    if seconds < SHORTEST_S:
        causes.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > LONGEST_S:
        causes.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


def token_request(
    account: Json, body: Mapping[str, Any], pod_of: Callable[[str], Json | None], now: datetime, key: bytes,
) -> Json:
    """The answer to a TokenRequest. ``pod_of``: a pod beside the account by name, None when there is none.

    Raises: Invalid for a lifetime out of bounds; BadRequest, Conflict for an object that it cannot be bound to.
    """
    request = checked("TokenRequest", dict(body))
    spec = dict(request.get("spec") or {})
    lifetime_s = int(spec.get("expirationSeconds") or DEFAULT_S)
    causes = Causes()
    check_lifetime(lifetime_s, "spec.expirationSeconds", causes)
    causes.raise_if_any("TokenRequest", "authentication.k8s.io", "")
    audiences = list(spec.get("audiences") or ()) or [ISSUER]
    meta, ends = account["metadata"], now + timedelta(seconds=lifetime_s)
    about: Json = {"namespace": meta["namespace"], "serviceaccount": {"name": meta["name"], "uid": meta["uid"]}}
    if (bound := spec.get("boundObjectRef")) is not None:
        about |= _bound(bound, pod_of, account)
    claims: Json = {
        "aud": audiences, "exp": int(ends.timestamp()), "iat": int(now.timestamp()), "nbf": int(now.timestamp()),
        "iss": ISSUER, "kubernetes.io": about, "sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}",
    }
    return {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "creationTimestamp": format_time(now)},
        "spec": {**spec, "audiences": audiences, "expirationSeconds": lifetime_s},
        "status": {"token": _signed(claims, key), "expirationTimestamp": format_time(ends)},
    }


def _bound(reference: Json, pod_of: Callable[[str], Json | None], account: Json) -> Json:
    if reference.get("kind") != "Pod":
        raise BadRequest(f'cannot bind token to a {reference.get("kind", "")} object: only pods can be named here')
    name = reference.get("name", "")
    pod = pod_of(name)
    if pod is None or pod["spec"].get("serviceAccountName") != account["metadata"]["name"]:
        raise BadRequest(f'cannot bind token for serviceaccount "{account["metadata"]["name"]}" to pod "{name}": '
                         "there is no such pod that runs with it")
    uid = pod["metadata"]["uid"]
    if reference.get("uid") not in (None, "", uid):
        raise Conflict(f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                       "The object might have been deleted and then recreated")
    told: Json = {"pod": {"name": name, "uid": uid}}
    return told | ({"node": {"name": pod["spec"]["nodeName"]}} if pod["spec"].get("nodeName") else {})


def _signed(claims: Json, key: bytes) -> str:
    head = _encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = _encoded(json.dumps(claims, separators=(",", ":")).encode())
    return f"{head}.{body}.{_encoded(hmac.digest(key, f'{head}.{body}'.encode(), hashlib.sha256))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
