"""How a cgroup of ours is called by each cgroup driver.

Decides names only: rooms speak of ``/testbed-<id>/<node>``; under the engine's ``cgroupfs`` driver that is the path
itself, under ``systemd`` it is a slice inside a slice. Source of the slice rule: systemd.slice(5), where ``-`` in a
slice's name means nesting, so dashes inside one part become ``_``.
"""

from __future__ import annotations


def engine_parent(cgroup: str, driver: str) -> str:
    """What the engine is given as ``CgroupParent``. ``driver``: cgroupfs or systemd."""
    if driver != "systemd" or not cgroup:
        return cgroup
    return "-".join(_slice_parts(cgroup)) + ".slice"


def host_path(cgroup: str, driver: str) -> str:
    """Where ``cgroup`` is found under the hierarchy's root. What is already a driver's own path stays as it is."""
    if driver != "systemd" or not cgroup.startswith("/testbed-"):
        return cgroup
    slices = _slice_parts(cgroup)
    return "".join("/" + "-".join(slices[: depth + 1]) + ".slice" for depth in range(len(slices)))


def _slice_parts(cgroup: str) -> list[str]:
    return [part.replace("-", "_") for part in cgroup.strip("/").split("/")]
