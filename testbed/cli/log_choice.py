"""Which containers' logs are meant, and with which options of the API each is asked for. Pure.

Source: kubectl pkg/polymorphichelpers/logsforobject.go, pkg/cmd/util/podcmd (the default container).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from testbed.cli.log_prefixes import Source

Json = dict[str, Any]
SELECTOR_TAIL = 10  # lines of each container, where pods are selected (kubectl: selectorTail)
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        namespace: None is all of them.
        pod: one by its name; "" where ``selector`` chooses.
        container: "" is each pod's default one.
        every: all containers, and what their lives before this one left.
        since_ns: nanoseconds since 1970; 0: everything.
        tail: lines of each container; None: all.
    """

    namespace: str | None
    selector: str = ""
    pod: str = ""
    container: str = ""
    every: bool = False
    since_ns: int = 0
    tail: int | None = None


def sources_of(pod: Mapping[str, Any], wanted: Wanted) -> list[Source]:
    """The containers of a pod whose logs are meant, in the order of its specification."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    regular = [str(item["name"]) for item in spec.get("containers") or ()]
    names = [*(str(item["name"]) for item in spec.get("initContainers") or ()), *regular]
    if wanted.container:
        chosen = [wanted.container] if wanted.container in names else []
    elif wanted.every:
        chosen = names
    else:
        default = (metadata.get("annotations") or {}).get(_DEFAULT_CONTAINER)
        chosen = [str(default)] if default in names else regular[:1]
    return [Source(metadata.get("namespace", ""), metadata["name"], name) for name in chosen]


def life_of(pod: Mapping[str, Any], container: str) -> tuple[str, bool]:
    """The engine's id of a container as its pod's status tells it ("" before there is one), and whether it runs."""
    status = pod.get("status") or {}
    for item in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        if item.get("name") == container:
            return str(item.get("containerID") or ""), "running" in (item.get("state") or {})
    return "", False


def options(
    source: Source, *, since_ns: int = 0, tail: int | None = None, follow: bool = False, previous: bool = False,
) -> dict[str, str]:
    """Of one request."""
    chosen = {"container": source.container, "timestamps": "true", "follow": "true" if follow else "",
              "previous": "true" if previous else "", "tailLines": "" if tail is None else str(tail),
              "sinceTime": moment_text(since_ns) if since_ns else ""}
    return {name: value for name, value in chosen.items() if value}


def moment_text(ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 with the microseconds that are whole."""
    moment = datetime.fromtimestamp(ns // 10**9, UTC).replace(microsecond=ns % 10**9 // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
