"""From the fields of a stress to stress-ng's arguments: sizes, percentages, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from faults import stressors
from faults.registry import Registry
from faults.stressors import size_bytes, stress_of

MIB = 1 << 20


@pytest.mark.parametrize(("text", "expected"), [
    ("256MB", 256_000_000), ("256MiB", 256 * MIB), ("256Mi", 256 * MIB), ("1GB", 10**9), ("1.5k", 1500),
    ("100", 100), ("100b", 100), ("64 KiB", 65536), ("25%", 250), ("100%", 1000), ("0%", 0), (" 2GiB ", 2 << 30),
])
def test_sizes_mean_what_their_units_say(text: str, expected: int) -> None:
    assert size_bytes(text, 1000) == expected


@pytest.mark.parametrize("text", ["", "MB", "101%", "-1MB", "1XB", "1e9", "1MB2", "%", "12.5%"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size|100%"):
        size_bytes(text, 1000)


def test_workers_of_cpus_load_so_much_each() -> None:
    stress = stress_of({"stressors": {"cpu": {"workers": 2, "load": 25, "options": ["--cpu-method fft"]}}}, 0)
    assert stress.argv == ("--cpu", "2", "--cpu-load", "25", "--cpu-method", "fft")
    assert stress.cpus == 0.5
    assert stress_of({"stressors": {"cpu": {"workers": 3}}}, 0).cpus == 3.0


def test_a_size_of_memory_is_the_sum_over_all_workers_and_is_only_held() -> None:
    """stress-ng itself divides it among its workers."""
    stress = stress_of({"stressors": {"memory": {"workers": 4, "size": "50%", "oomScoreAdj": -500}}}, 800 * MIB)
    assert dict(zip(stress.argv[::2], stress.argv[1::2], strict=False))["--vm-bytes"] == str(400 * MIB)
    assert (stress.memory_bytes, stress.cpus, stress.oom_score_adj) == (400 * MIB, 0.0, -500)
    assert stress_of({"stressors": {"memory": {"workers": 1}}}, 64 * MIB).memory_bytes == 64 * MIB


def test_a_line_of_stress_ng_wins_and_becomes_arguments() -> None:
    spec = {"stressors": {"cpu": {"workers": 9}}, "stressngStressors": "-c 2 -l 50 --vm=2 --vm-bytes 10% --hdd 1"}
    assert stressors.mistakes(spec) == ()
    stress = stress_of(spec, 100 * MIB)
    assert stress.argv == ("--cpu", "2", "--cpu-load", "50", "--vm", "2", "--vm-bytes", str(10 * MIB), "--hdd", "1")
    assert (stress.cpus, stress.memory_bytes) == (3.0, 10 * MIB)


@pytest.mark.parametrize("line", [
    "--cpu 1 --temp-path /etc", "--cpu 1; reboot", "--cpu 1 && ls", "--cpu $(id)", "--all 1", "--cpu", "--cpu x",
    "--cpu 1 --job /etc/passwd", "--io 1", "--kill 4", "--cpu 99999", "--cpu 1 --cpu-method ../../x", "/bin/sh",
    "--vm-bytes 10m", "--cpu 0", "--cpu 1 '", "--vm 1 --vm-keep=1", "--cpu 1 --cpu-load 200", "--sock 1", "-- --cpu 1",
    "--vm 1 --vm-bytes 101%", "--cpu 9000",
])
def test_a_line_that_may_do_more_than_load_is_refused(line: str) -> None:
    found = stressors.mistakes({"stressngStressors": line})
    assert [mistake.field for mistake in found] == ["spec.stressngStressors"]


@pytest.mark.parametrize(("spec", "field"), [
    ({}, "spec.stressors"),
    ({"stressors": {}}, "spec.stressors"),
    ({"stressors": {"cpu": {"workers": 1, "options": ["--yaml", "/x"]}}}, "spec.stressors.cpu.options"),
    ({"stressors": {"memory": {"workers": 1, "size": "much"}}}, "spec.stressors.memory.size"),
    ({"stressors": {"memory": {"workers": 1, "size": "120%"}}}, "spec.stressors.memory.size"),
    ({"stressors": {"memory": {"workers": 1, "size": "0"}}}, "spec.stressors.memory.size"),
])
def test_wrong_fields_are_named(spec: dict[str, Any], field: str) -> None:
    assert [mistake.field for mistake in stressors.mistakes(spec)] == [field]


def test_what_depends_on_how_much_there_is() -> None:
    assert stressors.is_relative({"stressors": {"memory": {"workers": 1, "size": "5%"}}})
    assert stressors.is_relative({"stressors": {"memory": {"workers": 1}}})
    assert stressors.is_relative({"stressngStressors": "--vm 1 --vm-bytes 5%"})
    assert not stressors.is_relative({"stressors": {"memory": {"workers": 1, "size": "5MB"}}})
    assert not stressors.is_relative({"stressors": {"cpu": {"workers": 1}}})


MEMORY, CPU = {"memory": {"workers": 1, "size": "5MB"}}, {"cpu": {"workers": 1}}


@pytest.mark.parametrize(("spec", "field"), [
    ({"action": "cpu-pressure", "stressors": MEMORY}, "spec.stressors.cpu"),
    ({"action": "memory-pressure", "stressors": {**MEMORY, **CPU}}, "spec.stressors.cpu"),
    ({"action": "memory-pressure"}, "spec.stressors.memory"),
    ({"action": "slow-disk"}, "spec"),
    ({"action": "slow-disk", "readBytesPerSecond": "1GB"}, "spec.readBytesPerSecond"),
    ({"action": "slow-disk", "writeBytesPerSecond": "50%"}, "spec.writeBytesPerSecond"),
    ({"action": "slow-disk", "writeBytesPerSecond": "fast"}, "spec.writeBytesPerSecond"),
    ({"action": "disk-fill"}, "spec.size"),
    ({"action": "disk-fill", "size": "lots"}, "spec.size"),
    ({"action": "disk-fill", "size": "0%"}, "spec.size"),
])
def test_wrong_fields_of_nodes_are_named(spec: dict[str, Any], field: str) -> None:
    obj = {"kind": "NodeChaos", "spec": {"mode": "one", "selector": {"nodes": ["n"]}, **spec}}
    assert [mistake.field for mistake in Registry().mistakes(obj)] == [field]
