"""Which platforms there are (``--platform``), and what opens each. One's code is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.api.instance import TESTBED
from testbed.api.instance_files import instance_directory, load_instance
from testbed.errors import UsageError
from testbed.supervisors.catalog import PLATFORMS as SUPERVISED

if TYPE_CHECKING:
    from testbed.experiment.platforms.protocol import ClusterSource

# Name: the module that has ``source(opening) -> ClusterSource``.
PLATFORMS: dict[str, str] = {
    **dict.fromkeys((TESTBED, *SUPERVISED), "testbed.cli.open_cluster"),
    "kubernetes": "testbed.cli.open_kubernetes",
    "simulation": "testbed.cli.open_simulation",
}


@dataclass(frozen=True)
class Opening:
    """How a command wants its platforms.

    Attributes:
        platform: the name it was asked for by.
        cluster: the cluster of ours that is used when it is up.
        tell: hears what is being done.
        whoever: the named cluster is used whoever runs it; else it must be of the platform that was asked for.
        keep: leave a cluster that was made for the run standing, to look into it.
        kubeconfig, context: which cluster ``kubernetes`` means.
        addresses: ``service=host:port`` each, where this machine cannot find out by itself.
    """

    platform: str
    cluster: str
    tell: Callable[[str], None]
    keep: bool = False
    kubeconfig: str = ""
    context: str = ""
    addresses: tuple[str, ...] = ()
    whoever: bool = False


def check_platforms(names: str) -> tuple[str, ...]:
    """The platforms of a list with commas. Raises: UsageError with the nearest name, or for one that stands twice."""
    found = tuple(part.strip() for part in names.split(",") if part.strip())
    for name in found:
        if name not in PLATFORMS:
            near = difflib.get_close_matches(name, PLATFORMS, n=1)
            raise UsageError(f"there is no platform {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""),
                             hint="platforms: " + ", ".join(PLATFORMS))
    if not found or len(set(found)) != len(found):
        raise UsageError(f"--platform {names!r} does not name each platform once",
                         hint="platforms: " + ", ".join(PLATFORMS))
    return found


def platforms_asked(names: str, cluster: str) -> tuple[str, ...]:
    """Those of ``--platform``; without it, whatever runs the named cluster when it is up, else our own.

    Raises: UsageError, also when that cluster is none that an experiment knows by name.
    """
    if names:
        return check_platforms(names)
    directory = instance_directory(cluster)
    if not (directory / "instance.json").exists():
        return (TESTBED,)
    found = load_instance(directory).platform
    if found not in PLATFORMS:
        raise UsageError(f"cluster {cluster!r} is run by {found}, which is no platform of experiments",
                         hint="name another cluster: --name NAME; or a platform: --platform " + ", ".join(SUPERVISED))
    return (found,)


def cluster_source(opening: Opening) -> ClusterSource:
    """What opens the platform."""
    source: ClusterSource = importlib.import_module(PLATFORMS[opening.platform]).source(opening)
    return source


def own_cluster(cluster: str, tell: Callable[[str], None]) -> Callable[[str], ClusterSource]:
    """For commands that know no other platform."""
    return lambda platform: cluster_source(Opening(platform, cluster, tell, whoever=True))
