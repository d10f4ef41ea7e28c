"""``--platform kubernetes``: which cluster that is, from ``--kubeconfig``, ``--context`` and ``--address``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from testbed.errors import UsageError

if TYPE_CHECKING:
    from testbed.cli.platforms import Opening
    from testbed.experiment.platforms.protocol import ClusterSource

_ADDRESS = re.compile(r"(?P<service>[a-z0-9]([-a-z0-9]*[a-z0-9])?)=(?P<place>[^=\s]+:[0-9]{1,5})")


def source(opening: Opening) -> ClusterSource:
    """Raises: UsageError, InvalidInput, EnvironmentProblem for what the files and flags get wrong."""
    from testbed.client.kubeconfig import kubeconfig_files, read_access
    from testbed.experiment.platforms.kubernetes import kubernetes_source

    access = read_access(kubeconfig_files(opening.kubeconfig, os.environ), opening.context)
    return kubernetes_source(access, opening.tell, addresses=addresses(opening.addresses), keep=opening.keep)


def addresses(told: tuple[str, ...]) -> dict[str, str]:
    """Raises: UsageError."""
    found = {}
    for text in told:
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise UsageError(f"--address {text!r} is not SERVICE=HOST:PORT", hint="for example: "
                                                                                  "--address web=127.0.0.1:8080")
        found[match["service"]] = match["place"]
    return found
