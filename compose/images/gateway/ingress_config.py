"""HAProxy's configuration for a routing plan, and which commands bring one into force without a new one. Pure.

A plan comes as the feeder sends it (``testbed/network/ingress_wire.py``); its routes are in the order in which they are
to be tried. Each pool is one ``backend`` with more ``server`` lines than it has endpoints: slots. An endpoint that
comes or goes takes or leaves a slot by HAProxy's runtime API; everything else is another configuration, and a reload.
Directives and their meaning: HAProxy 2.6 configuration manual; the annotations behind them: docs/ingress.md.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

Json = dict[str, Any]
Endpoint = tuple[str, int]
Slots = dict[str, list["Endpoint | None"]]  # by pool

LEAST_SLOTS = 4
ADMIN = "/run/ingress/admin.sock"
METRICS = "/run/ingress/metrics.sock"
CERTIFICATES = "/run/ingress/certificates"
LUA = "/opt/testbed/ingress.lua"
WITHOUT_RETRIES = ":once"  # the twin of a pool with a retry budget, for when the budget is spent
_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")

HEAD = """\
global
 stats socket {admin} mode 600 level admin expose-fd listeners
 nbthread 1
 maxconn 4000
 hard-stop-after 90s
 ssl-default-bind-options ssl-min-ver TLSv1.2
{lua}
defaults
 mode http
 timeout connect 5s
 timeout client 60s
 timeout server 60s
 timeout http-request 10s
 timeout http-keep-alive 30s
 timeout queue 1s
 option http-server-close
 option forwardfor
 option idle-close-on-response
 retries 0
frontend ingress
 bind :80
{tls} http-request set-var(txn.host) req.hdr(host),field(1,:),lower
 http-request set-var(txn.draw) rand(100)
 http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
 http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
"""
EXPORTER = """\
frontend metrics
 bind unix@{socket} mode 600
 http-request use-service prometheus-exporter
"""
NOBODY = """\
backend nobody
 http-request return status 404 content-type text/plain string "no Ingress has this host and path"
"""
RETRIES = """\
 retries 2
 option redispatch 1
 retry-on conn-failure empty-response response-timeout 502 503 504
 http-request disable-l7-retry unless METH_GET or METH_HEAD or METH_OPTIONS or { method PUT DELETE }
"""


def fill(slots: Slots, plan: Json) -> Slots:
    """The slots of every pool once its endpoints are those of ``plan``: who has one keeps it. A pool that does not fit
    is given twice as many as it needs."""
    filled: Slots = {}
    for pool in plan["pools"]:
        wanted: list[Endpoint] = [(str(address), int(port)) for address, port in pool["endpoints"]]
        old = slots.get(pool["name"], [])
        size = len(old) if old and len(wanted) <= len(old) else _size(len(wanted))
        kept: list[Endpoint | None] = [one if one in wanted else None for one in old] + [None] * (size - len(old))
        fresh = [one for one in wanted if one not in kept]
        for index, one in enumerate(kept):
            if one is None and fresh:
                kept[index] = fresh.pop(0)
        filled[pool["name"]] = kept
    return filled


def _size(count: int) -> int:
    size = LEAST_SLOTS
    while size < 2 * count:
        size *= 2
    return size


def render(plan: Json, slots: Slots, certificates: list[str]) -> tuple[str, str]:
    """The configuration, and its shape: what stays the same while only endpoints change.

    ``certificates``: lines of the list of certificates, as they are in force.
    Raises: ValueError for a plan that cannot be written down safely.
    """
    empty: Slots = {name: [None] * len(some) for name, some in slots.items()}
    shape = _text(plan, empty, certificates) + "\n".join(certificates)
    identity = hashlib.sha1(shape.encode(), usedforsecurity=False).hexdigest()[:16]
    return _text(plan, slots, certificates).replace("global\n", f"global\n description {identity}\n", 1), identity


def changes(before: Slots, after: Slots, plan: Json) -> list[str]:
    """Commands of the runtime API from one filling of the same slots to another."""
    commands: list[str] = []
    for pool in plan["pools"]:
        name = pool["name"]
        for number, (old, new) in enumerate(zip(before[name], after[name], strict=True), 1):
            for server in (f"{twin}/s{number}" for twin in twins(pool)) if old != new else ():
                if new is None:
                    commands.append(f"set server {server} state maint")
                    continue
                commands.append(f"set server {server} addr {new[0]} port {new[1]}")
                if pool.get("outliers"):
                    commands.append(f"set server {server} health up")
                commands.append(f"set server {server} state ready")
    return commands


def twins(pool: Json) -> list[str]:
    """The backends that one pool is made of."""
    return [pool["name"], *([pool["name"] + WITHOUT_RETRIES] if pool.get("retry_percent") else [])]


def _text(plan: Json, slots: Slots, certificates: list[str]) -> str:
    pools = {pool["name"]: pool for pool in plan["pools"]}
    watched = [pool for pool in pools.values() if _is_watched(pool)]
    lua = f" lua-load {LUA}\n" if watched else ""
    parts = [HEAD.format(admin=ADMIN, lua=lua.rstrip("\n"), tls=_tls(certificates))]
    parts += [_route(route, pools) for route in plan["routes"]]
    parts += [*([_use(plan["default"], "", pools)] if plan["default"] else []), " default_backend nobody\n",
              EXPORTER.format(socket=METRICS), NOBODY]
    parts += [_limit_table(pool) for pool in _limited(plan["pools"])]
    for pool in plan["pools"]:
        parts += [_backend(pool, twin, slots[pool["name"]]) for twin in twins(pool)]
    return "".join(parts)


def _tls(certificates: list[str]) -> str:
    if not certificates:
        return ""
    strict = "" if len(certificates[0].split()) == 1 else " strict-sni"
    return f" bind :443 ssl crt-list {CERTIFICATES}/list alpn h2,http/1.1{strict}\n"


# --- who gets a request


def _route(route: Json, pools: dict[str, Json]) -> str:
    condition = _host(route["host"]) + _path(route["path"], route["exact"])
    text = ""
    if route["canary"] and route["weight"]:
        text = _use(route["canary"], f"{condition}{{ var(txn.draw) -m int lt {int(route['weight'])} }} ", pools)
    return text + _use(route["pool"], condition, pools)


def _use(pool: str, condition: str, pools: dict[str, Json]) -> str:
    name = _checked(pool)
    spent = f"{condition}{{ lua.spent({name}) -m bool }}"
    once = f" use_backend {name}{WITHOUT_RETRIES} if {spent}\n" if pools[pool].get("retry_percent") else ""
    return once + (f" use_backend {name} if {condition.rstrip()}\n" if condition else f" use_backend {name}\n")


def _host(host: str) -> str:
    if not host:
        return ""
    if host.startswith("*."):
        return f"{{ var(txn.host) -m reg {_quoted(r'^[^.]+' + re.escape(host[1:]) + '$')} }} "
    return f"{{ var(txn.host) -m str {_quoted(host)} }} "


def _path(path: str, exact: bool) -> str:
    if exact:
        return f"{{ path -m str {_quoted(path)} }} "
    return f"{{ path,concat(/) -m beg {_quoted(path + '/')} }} "


def _quoted(text: str) -> str:
    """One word of the configuration, in strong quotes. Raises: ValueError for what no quotes can hold."""
    if not text.isprintable():
        raise ValueError(f"{text!r} cannot stand in a configuration")
    return "'" + text.replace("'", "'\\''") + "'"


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(f"{name!r} cannot name a backend")
    return name


# --- pools


def _limited(pools: list[Json]) -> list[Json]:
    """One pool of each Ingress that has a limit."""
    return list({pool["limit"]["of"]: pool for pool in pools if pool.get("limit")}.values())


def _limit_table(pool: Json) -> str:
    limit = pool["limit"]
    period_s = int(limit["period_s"])
    return (f"backend limit:{_checked(limit['of'])}\n"
            f" stick-table type ip size 100k expire {2 * period_s}s store http_req_rate({period_s}s)\n")


def _is_watched(pool: Json) -> bool:
    return bool(pool.get("retry_percent") or pool.get("outliers") or pool.get("breaker"))


def _backend(pool: Json, twin: str, slots: list[Endpoint | None]) -> str:
    lines = [f"backend {_checked(pool['name'])}{twin[len(pool['name']):]}\n", " balance roundrobin\n"]
    if limit := pool.get("limit"):
        lines.append(f" http-request track-sc1 src table limit:{limit['of']}\n")
        lines.append(f" http-request deny deny_status 429 if {{ sc_http_req_rate(1) gt {int(limit['requests'])} }}\n")
    if breaker := pool.get("breaker"):
        lines.append(f" http-request set-var(txn.open) bool(true) if {{ lua.is_open({breaker['percent']},"
                     f"{_ms(breaker['open_s'])}) -m bool }}\n")
        lines.append(" http-request return status 503 content-type text/plain string \"circuit open\" "
                     "if { var(txn.open) -m bool }\n")
    if outliers := pool.get("outliers"):
        lines.append(f" http-request set-var(txn.held) lua.hold_cap({outliers['cap_percent']},"
                     f"{_ms(outliers['ejection_s'])})\n")
    if pool.get("retry_percent") and twin == pool["name"]:
        lines.append(RETRIES)
    if _is_watched(pool):
        lines.append(" http-after-response set-var-fmt(txn.tries) %rc\n")
        lines.append(f" http-after-response set-var(txn.seen) lua.seen({int(pool.get('retry_percent') or 0)})\n")
    lines.append(_default_server(pool))
    for number, slot in enumerate(slots, 1):
        lines.append(f" server s{number} 127.0.0.1:1 disabled\n" if slot is None
                     else f" server s{number} {slot[0]}:{slot[1]}\n")
    return "".join(lines)


def _default_server(pool: Json) -> str:
    words = []
    if most := pool.get("max_connections"):
        words.append(f"maxconn {int(most)}")
    if outliers := pool.get("outliers"):
        # Observing needs a health check; this one asks HAProxy itself and can neither eject nor bring back.
        words.append("check addr 127.0.0.1 port 80 inter 1h fall 100000 rise 100000 "
                     f"observe layer7 error-limit {int(outliers['errors'])} on-error mark-down")
    return f" default-server {' '.join(words)}\n" if words else ""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
