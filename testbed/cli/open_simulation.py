"""``--platform simulation``: virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.cli.platforms import Opening
    from testbed.experiment.platforms.protocol import ClusterSource


def source(opening: Opening) -> ClusterSource:
    from testbed.experiment.platforms.simulation import simulation_source

    return simulation_source(opening.tell)
