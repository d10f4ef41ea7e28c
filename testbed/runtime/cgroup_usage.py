"""What a cgroup uses, and what goes through a network namespace's interfaces, out of the kernel's own files.

Reading needs no privilege; a file that is not there (a controller that is off, a kernel that lacks it) leaves its
numbers 0. What is read of cgroup v1 and v2 is one value (``GroupUsage``), counted as cAdvisor counts.

Sources: google/cadvisor container/libcontainer/handler.go; kernel Documentation/admin-guide/cgroup-v1/{cpuacct,memory,
blkio-controller}.rst, cgroup-v2.rst; proc_pid_net(5).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from testbed.runtime.usage import DiskUsage, GroupUsage, InterfaceUsage

_TICKS = os.sysconf("SC_CLK_TCK")
_MOST_BYTES = 1 << 16
_LOOPBACK = "lo"

Read = Callable[[str, str], str]  # of a controller, a file: its text, empty when it is not there


def read_usage(root: Path, cgroup: str, *, unified: bool) -> GroupUsage | None:
    """``root``: where the hierarchies are seen. ``cgroup``: relative to them. None when there is no such cgroup."""
    if unified:
        return _unified(lambda _, file: _text(f"{root}/{cgroup}/{file}"))
    return _separate(lambda controller, file: _text(f"{root}/{controller}/{cgroup}/{file}"))


def read_interfaces(pid: int) -> tuple[InterfaceUsage, ...]:
    """Of the network namespace that a process is in, without its loopback; none when it has ended."""
    try:
        text = Path(f"/proc/{int(pid)}/net/dev").read_text()  # the kernel gives it in pieces of a page
    except OSError:
        return ()
    found = []
    for line in text.splitlines()[2:]:
        name, _, counts = line.partition(":")
        words = counts.split()
        if name.strip() != _LOOPBACK and len(words) >= 12:
            (received, r_packets, r_errors, r_dropped), (sent, s_packets, s_errors, s_dropped) = (
                [int(word) for word in words[start: start + 4]] for start in (0, 8))
            found.append(InterfaceUsage(name.strip(), received, r_packets, r_errors, r_dropped, sent, s_packets,
                                        s_errors, s_dropped))
    return tuple(found)


def _separate(read: Read) -> GroupUsage | None:
    """cgroup v1."""
    usage = read("cpuacct", "cpuacct.usage")
    if not usage:
        return None
    ticks, cpu = _pairs(read("cpuacct", "cpuacct.stat")), _pairs(read("cpu", "cpu.stat"))
    memory = _pairs(read("memory", "memory.stat"))
    used = _whole(read("memory", "memory.usage_in_bytes"))
    return GroupUsage(
        cpu_seconds=int(usage) / 1e9, user_seconds=ticks.get("user", 0) / _TICKS,
        system_seconds=ticks.get("system", 0) / _TICKS, periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0), throttled_seconds=cpu.get("throttled_time", 0) / 1e9,
        memory_bytes=used, working_set_bytes=max(0, used - memory.get("total_inactive_file", 0)),
        rss_bytes=memory.get("total_rss", 0), cache_bytes=memory.get("total_cache", 0),
        mapped_bytes=memory.get("total_mapped_file", 0), swap_bytes=memory.get("total_swap", 0),
        oom_kills=_pairs(read("memory", "memory.oom_control")).get("oom_kill", 0),
        threads=_whole(read("pids", "pids.current")),
        disks=_separate_disks(read("blkio", "blkio.throttle.io_service_bytes_recursive"),
                              read("blkio", "blkio.throttle.io_serviced_recursive")),
    )


def _unified(read: Read) -> GroupUsage | None:
    """cgroup v2."""
    cpu = _pairs(read("", "cpu.stat"))
    if not cpu:
        return None
    memory, used = _pairs(read("", "memory.stat")), _whole(read("", "memory.current"))
    return GroupUsage(
        cpu_seconds=cpu.get("usage_usec", 0) / 1e6, user_seconds=cpu.get("user_usec", 0) / 1e6,
        system_seconds=cpu.get("system_usec", 0) / 1e6, periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0), throttled_seconds=cpu.get("throttled_usec", 0) / 1e6,
        memory_bytes=used, working_set_bytes=max(0, used - memory.get("inactive_file", 0)),
        rss_bytes=memory.get("anon", 0), cache_bytes=memory.get("file", 0), mapped_bytes=memory.get("file_mapped", 0),
        swap_bytes=_whole(read("", "memory.swap.current")),
        oom_kills=_pairs(read("", "memory.events")).get("oom_kill", 0), threads=_whole(read("", "pids.current")),
        disks=_unified_disks(read("", "io.stat")),
    )


def _separate_disks(bytes_text: str, acts_text: str) -> tuple[DiskUsage, ...]:
    """Lines ``8:0 Read 4096`` of each."""
    numbers: dict[str, dict[str, int]] = {}
    for kind, text in (("bytes", bytes_text), ("acts", acts_text)):
        for line in text.splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in ("Read", "Write"):
                numbers.setdefault(words[0], {})[f"{words[1]} {kind}"] = int(words[2])
    return tuple(_disk(device, found, "Read acts", "Read bytes", "Write acts", "Write bytes")
                 for device, found in numbers.items())


def _unified_disks(text: str) -> tuple[DiskUsage, ...]:
    """Lines ``8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6``."""
    lines = (line.split() for line in text.splitlines())
    return tuple(_disk(device, {name: int(number) for name, _, number in (word.partition("=") for word in words)
                                if number.isdigit()}, "rios", "rbytes", "wios", "wbytes")
                 for device, *words in lines)


def _disk(device: str, numbers: Mapping[str, int], *fields: str) -> DiskUsage:
    reads, read_bytes, writes, write_bytes = (numbers.get(field, 0) for field in fields)
    return DiskUsage(_device_name(device), reads, read_bytes, writes, write_bytes)


@cache
def _device_name(numbers: str) -> str:
    """``/dev/sda`` for ``8:0``; the numbers where the kernel does not name it."""
    told = dict(line.split("=", 1) for line in _text(f"/sys/dev/block/{numbers}/uevent").splitlines() if "=" in line)
    return f"/dev/{told['DEVNAME']}" if "DEVNAME" in told else numbers


def _pairs(text: str) -> dict[str, int]:
    """Lines of a name and a number."""
    return {words[0]: int(words[1]) for words in (line.split() for line in text.splitlines())
            if len(words) == 2 and words[1].isdigit()}


def _whole(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0


def _text(path: str) -> str:
    """In one piece, as the kernel gives files of cgroups, and without a buffer: a thousand are read in a second."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(handle, _MOST_BYTES).decode("ascii", "replace")
    except OSError:  # it has ended meanwhile
        return ""
    finally:
        os.close(handle)
