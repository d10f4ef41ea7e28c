"""A Debian root file system from packages: the base image where no registry can be reached."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from testbed.errors import EnvironmentProblem


def debootstrap(archive: Path, progress: Callable[[str, float | None], None]) -> None:
    """Writes a minimal Debian root file system as a tar file, from the machine's Debian mirror.

    ``TESTBED_DEBIAN_MIRROR`` in the environment names another mirror. Raises: EnvironmentProblem.
    """
    mirror = os.environ.get("TESTBED_DEBIAN_MIRROR")
    argv = ["mmdebstrap", "--variant=minbase", "--format=tar",
            "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "bookworm", str(archive), *([mirror] if mirror else [])]
    said: list[str] = []
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said = [*said[-10:], line.rstrip()]
            percent = re.search(r"\.\.\. *(\d+)%", line)
            progress(line.strip(), int(percent[1]) / 100 if percent else None)
    if process.returncode:
        raise EnvironmentProblem("mmdebstrap failed: " + "\n".join(said[-3:]),
                                 hint="Debian's package mirror must be reachable; TESTBED_DEBIAN_MIRROR names another")
