"""What the kernel's files say of a cgroup and of a network, as one value on cgroup v1 and v2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.runtime.cgroup_usage import read_interfaces, read_usage
from testbed.runtime.usage import DiskUsage

GROUP = "testbed-1/node-1/c"
TICKS = os.sysconf("SC_CLK_TCK")
SEPARATE = {
    "cpuacct/cpuacct.usage": "2500000000\n",
    "cpuacct/cpuacct.stat": f"user {TICKS * 2}\nsystem {TICKS}\n",
    "cpu/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 1500000000\n",
    "memory/memory.usage_in_bytes": "9000\n",
    "memory/memory.stat": "cache 1\nrss 1\ntotal_cache 6000\ntotal_rss 2000\ntotal_mapped_file 300\ntotal_swap 40\n"
                          "total_inactive_file 4000\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "pids/pids.current": "7\n",
    "blkio/blkio.throttle.io_service_bytes_recursive":
        "253:99 Read 4096\n253:99 Write 512\n253:99 Sync 1\nTotal 4608\n",
    "blkio/blkio.throttle.io_serviced_recursive": "253:99 Read 2\n253:99 Write 1\nTotal 3\n",
}
UNIFIED = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 1000000\nnr_periods 10\nnr_throttled 4\n"
                "throttled_usec 1500000\n",
    "memory.current": "9000\n",
    "memory.stat": "anon 2000\nfile 6000\nfile_mapped 300\ninactive_file 4000\n",
    "memory.swap.current": "40\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 5\noom_kill 3\n",
    "pids.current": "7\n",
    "io.stat": "253:99 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n",
}


def write(root: Path, *, unified: bool, without: str = "") -> None:
    for name, text in (UNIFIED if unified else SEPARATE).items():
        controller, _, file = name.rpartition("/")
        directory = root / controller / GROUP
        directory.mkdir(parents=True, exist_ok=True)
        if file != without:
            (directory / file).write_text(text)


@pytest.mark.parametrize("unified", [False, True])
def test_both_hierarchies_say_the_same(tmp_path: Path, unified: bool) -> None:
    write(tmp_path, unified=unified)
    found = read_usage(tmp_path, GROUP, unified=unified)
    assert found is not None
    assert (found.cpu_seconds, found.user_seconds, found.system_seconds) == (2.5, 2.0, 1.0)
    assert (found.periods, found.throttled_periods, found.throttled_seconds) == (10, 4, 1.5)
    assert (found.memory_bytes, found.working_set_bytes) == (9000, 5000)
    assert (found.rss_bytes, found.cache_bytes, found.mapped_bytes, found.swap_bytes) == (2000, 6000, 300, 40)
    assert (found.oom_kills, found.threads) == (3, 7)
    assert found.disks == (DiskUsage("253:99", 2, 4096, 1, 512),)


@pytest.mark.parametrize("unified", [False, True])
def test_a_file_that_is_missing_costs_its_own_numbers_only(tmp_path: Path, unified: bool) -> None:
    for file in ("memory.stat", "pids.current", "io.stat", "blkio.throttle.io_serviced_recursive"):
        root = tmp_path / file
        write(root, unified=unified, without=file)
        found = read_usage(root, GROUP, unified=unified)
        assert found is not None and found.cpu_seconds == 2.5, file
        assert found.memory_bytes == 9000


@pytest.mark.parametrize("unified", [False, True])
def test_a_group_that_is_gone_is_none(tmp_path: Path, unified: bool) -> None:
    assert read_usage(tmp_path, GROUP, unified=unified) is None


def test_interfaces_are_those_of_the_processs_own_network() -> None:
    before = {path.name for path in Path("/sys/class/net").iterdir()}
    names = {item.name for item in read_interfaces(os.getpid())}
    after = {path.name for path in Path("/sys/class/net").iterdir()}  # containers come and go
    assert (before & after) - {"lo", "bonding_masters"} <= names <= (before | after) - {"lo"}
    assert all(item.received_bytes >= 0 and item.sent_packets >= 0 for item in read_interfaces(os.getpid()))
    assert read_interfaces(2**22 + 1) == ()
