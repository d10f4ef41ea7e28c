"""Counts what the API is asked: requests by verb, resource and code, and how long answers took.

A path names anything, so what is not served has no label of its own: the labels are those of the kinds there are.
Source of the verbs: kubernetes apiserver pkg/endpoints/metrics/metrics.go (apiserver_request_total).
"""

from __future__ import annotations

from collections import Counter

from testbed.api.measures import Histogram
from testbed.server.catalog import Catalog
from testbed.server.discovery import UNSTORED
from testbed.server.paths import Target

LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CLIENT_GONE = 499  # nginx' word for it
_VERBS = {"POST": "POST", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE"}
_CONNECTING = ("exec", "attach")


class RequestCounts:
    """``total``: by verb, resource and code. ``durations``: by verb, in seconds, without watches and other streams.
    ``open``: how many of each sort are being served now."""

    def __init__(self) -> None:
        self.open = {"request": 0, "watch": 0, "stream": 0}
        self.total: Counter[tuple[str, str, str]] = Counter()
        self.durations: dict[str, Histogram] = {}

    def note(self, verb: str, resource: str, code: int, took_s: float | None) -> None:
        """``took_s``: None for what ends when its client wants it to."""
        self.total[verb, resource, str(code)] += 1
        if took_s is not None:
            self.durations.setdefault(verb, Histogram(LATENCIES_S)).observe(took_s)


def verb_of(method: str, target: Target | None, *, watching: bool) -> str:
    """Of ``apiserver_request_total``. ``target``: None where the path names no resource."""
    if method not in ("GET", "HEAD"):
        whole = method == "DELETE" and target is not None and not target.name
        return "DELETECOLLECTION" if whole else _VERBS.get(method, "OTHER")
    if target is None:
        return "GET"
    if watching:
        return "WATCH"
    if target.subresource in _CONNECTING or target.subresource.startswith("proxy/"):
        return "CONNECT"
    return "GET" if target.name else "LIST"


def resource_of(catalog: Catalog, target: Target | None) -> str:
    """``pods``, ``pods/log``, ``deployments.apps``; empty for what is no resource or not served."""
    if target is None:
        return ""
    if (target.group, target.plural) in UNSTORED:
        return f"{target.plural}.{target.group}"
    served = catalog.get(target.group, target.version, target.plural)
    if served is None:
        return ""
    part = target.subresource.partition("/")[0]
    return served.key + (f"/{part}" if part in served.subresources else "")
