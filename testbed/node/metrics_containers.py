"""Containers of a node under cAdvisor's names and labels, as text.

What does not change while a container lives is written once. Series are bounded by the containers that run, and those
whose memory ran out and which the engine still has. Source: google/cadvisor docs/storage/prometheus.md, metrics/
prometheus.go; labels as kubernetes pkg/kubelet/server/server.go containerPrometheusLabelsFunc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from testbed.api import labels as keys
from testbed.api.exposition import COUNTER, Family, labelled, line
from testbed.node.record import Record
from testbed.node.usage import NodeUsage, Traffic, Usage
from testbed.runtime.containers import Limits
from testbed.runtime.usage import DiskUsage, GroupUsage, InterfaceUsage

OWN = ("container", "id", "image", "name", "namespace", "pod")
CPU_PERIOD_US = 100_000

_GROUP: tuple[tuple[Family, Callable[[GroupUsage], float]], ...] = (
    (Family("container_cpu_user_seconds_total", "Cumulative user CPU time consumed in seconds.", OWN, COUNTER),
     lambda group: group.user_seconds),
    (Family("container_cpu_system_seconds_total", "Cumulative system CPU time consumed in seconds.", OWN, COUNTER),
     lambda group: group.system_seconds),
    (Family("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", OWN, COUNTER),
     lambda group: group.periods),
    (Family("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", OWN, COUNTER),
     lambda group: group.throttled_periods),
    (Family("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.", OWN,
            COUNTER), lambda group: group.throttled_seconds),
    (Family("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it "
            "was accessed", OWN), lambda group: group.memory_bytes),
    (Family("container_memory_working_set_bytes", "Current working set in bytes.", OWN),
     lambda group: group.working_set_bytes),
    (Family("container_memory_rss", "Size of RSS in bytes.", OWN), lambda group: group.rss_bytes),
    (Family("container_memory_cache", "Number of bytes of page cache memory.", OWN), lambda group: group.cache_bytes),
    (Family("container_memory_mapped_file", "Size of memory mapped files in bytes.", OWN),
     lambda group: group.mapped_bytes),
    (Family("container_memory_swap", "Container swap usage in bytes.", OWN), lambda group: group.swap_bytes),
    (Family("container_threads", "Number of threads running inside the container", OWN), lambda group: group.threads),
)
_CPU = Family("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", (*OWN, "cpu"), COUNTER)
_OOM = Family("container_oom_events_total", "Count of out of memory events observed for the container", OWN, COUNTER)
_SEEN = Family("container_last_seen", "Last time a container was seen by the exporter", OWN)
_DISK: tuple[tuple[Family, Callable[[DiskUsage], float]], ...] = tuple(
    (Family(f"container_fs_{name}_total", f"Cumulative count of {what}", (*OWN, "device"), COUNTER), read)
    for name, what, read in (
        ("reads", "reads completed", lambda disk: disk.reads),
        ("reads_bytes", "bytes read", lambda disk: disk.read_bytes),
        ("writes", "writes completed", lambda disk: disk.writes),
        ("writes_bytes", "bytes written", lambda disk: disk.write_bytes),
    ))
_NETWORK: tuple[tuple[Family, Callable[[InterfaceUsage], float]], ...] = tuple(
    (Family(f"container_network_{name}_total", f"Cumulative count of {what}", (*OWN, "interface"), COUNTER), read)
    for name, what, read in (
        ("receive_bytes", "bytes received", lambda one: one.received_bytes),
        ("receive_packets", "packets received", lambda one: one.received_packets),
        ("receive_errors", "errors encountered while receiving", lambda one: one.received_errors),
        ("receive_packets_dropped", "packets dropped while receiving", lambda one: one.received_dropped),
        ("transmit_bytes", "bytes transmitted", lambda one: one.sent_bytes),
        ("transmit_packets", "packets transmitted", lambda one: one.sent_packets),
        ("transmit_errors", "errors encountered while transmitting", lambda one: one.sent_errors),
        ("transmit_packets_dropped", "packets dropped while transmitting", lambda one: one.sent_dropped),
    ))
_STARTED = Family("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", OWN)
_SPEC: tuple[tuple[Family, Callable[[Limits], float | None]], ...] = (
    (Family("container_spec_cpu_period", "CPU period of the container.", OWN), lambda limits: CPU_PERIOD_US),
    (Family("container_spec_cpu_quota", "CPU quota of the container.", OWN),
     lambda limits: limits.cpu_quota_us or None),
    (Family("container_spec_cpu_shares", "CPU share of the container.", OWN), lambda limits: limits.cpu_shares),
    (Family("container_spec_memory_limit_bytes", "Memory limit for the container.", OWN),
     lambda limits: limits.memory_bytes),
)

FAMILIES: tuple[Family, ...] = (
    _CPU, *(family for family, _ in _GROUP), _OOM, *(family for family, _ in _DISK),
    *(family for family, _ in _NETWORK), _STARTED, *(family for family, _ in _SPEC), _SEEN)

LimitsOf = Callable[[Record], Limits | None]


@dataclass(frozen=True)
class _Fixed:
    """What does not change of a container: the labels, and the lines of each family that follows from its spec.
    ``whole``: nothing is to come; an agent that has just begun does not know its pods."""

    cgroup: str
    whole: bool
    labels: str
    lines: tuple[str, ...]


class ContainerText:
    """``limits_of``: None where they are not known, as of a container whose pod the agent does not have."""

    def __init__(self, limits_of: LimitsOf) -> None:
        self._limits_of = limits_of
        self._fixed: dict[str, _Fixed] = {}

    def text(self, usage: NodeUsage, records: Mapping[str, Record], now: float) -> Iterator[str]:
        """``records``: all that the agent knows. ``now``: seconds since 1970."""
        shown = [(self._of(item.record), item) for item in usage.containers]
        yield from _group_lines([(fixed.labels, item) for fixed, item in shown])
        yield from self._oom_lines(shown, records)
        yield from _disk_lines([(fixed.labels, item) for fixed, item in shown])
        yield from _network_lines([(self._of(item.record).labels, item) for item in usage.networks])
        for number, family in enumerate((_STARTED, *(family for family, _ in _SPEC))):
            yield family.head
            yield from (fixed.lines[number] for fixed, _ in shown)
        yield _SEEN.head
        yield from (line(_SEEN.name, fixed.labels, now) for fixed, _ in shown)
        self._fixed = {key: kept for key, kept in self._fixed.items() if key in records}

    def _oom_lines(self, shown: Iterable[tuple[_Fixed, Usage]], records: Mapping[str, Record]) -> Iterator[str]:
        """A container that was killed for its memory has ended: it is told of for as long as the engine has it."""
        yield _OOM.head
        yield from (line(_OOM.name, fixed.labels, item.group.oom_kills) for fixed, item in shown)
        yield from (line(_OOM.name, self._of(record).labels, 1) for record in records.values()
                    if record.state.oom_killed and not record.running and not record.sandbox)

    def _of(self, record: Record) -> _Fixed:
        known = self._fixed.get(record.id)
        if known is None or not known.whole or known.cgroup != record.cgroup:
            known = self._fixed[record.id] = _fixed(record, self._limits_of(record))
        return known


def _fixed(record: Record, limits: Limits | None) -> _Fixed:
    state, tags = record.state, record.state.labels
    own = labelled(OWN, (
        "" if record.sandbox else record.name, record.cgroup or f"/{record.id}", state.image, state.name,
        tags.get(keys.POD_NAMESPACE, ""), tags.get(keys.POD_NAME, "")))
    started = "" if state.started_at is None else line(_STARTED.name, own, state.started_at.timestamp())
    values = [(family, None if limits is None else read(limits)) for family, read in _SPEC]
    whole = limits is not None or record.sandbox or not record.running
    return _Fixed(record.cgroup, whole, own, (started, *(
        "" if value is None else line(family.name, own, value) for family, value in values)))


def _group_lines(shown: list[tuple[str, Usage]]) -> Iterator[str]:
    yield _CPU.head
    yield from (line(_CPU.name, f'{own},cpu="total"', item.group.cpu_seconds) for own, item in shown)
    for family, read in _GROUP:
        yield family.head
        yield from (line(family.name, own, read(item.group)) for own, item in shown)


def _disk_lines(shown: list[tuple[str, Usage]]) -> Iterator[str]:
    for family, read in _DISK:
        yield family.head
        yield from (line(family.name, f'{own},device="{disk.device}"', read(disk))
                    for own, item in shown for disk in item.group.disks)


def _network_lines(shown: list[tuple[str, Traffic]]) -> Iterator[str]:
    for family, read in _NETWORK:
        yield family.head
        yield from (line(family.name, f'{own},interface="{one.name}"', read(one))
                    for own, item in shown for one in item.interfaces)
