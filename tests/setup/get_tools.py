"""Brings programs that only tests use: promtool, Chromium and kubectl, from Debian's packages.

    python get_tools.py FOLDER

Those that are already on this machine are left alone. promtool and kubectl are unpacked under FOLDER, so that no
service is installed; Chromium needs its libraries and is installed by root. What cannot be had is named; the tests that
need it say that they were skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

UNPACKED = {"promtool": ("prometheus", "usr/bin/promtool"), "kubectl": ("kubernetes-client", "usr/bin/kubectl")}


def quietly(*argv: str, cwd: str | None = None) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    return subprocess.run(argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          check=False).returncode == 0


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def unpack(program: str, package: str, path: str, folder: Path) -> bool:
    """Downloads a Debian package and takes one program out of it."""
    with tempfile.TemporaryDirectory() as work:
        if not quietly("apt-get", "download", package, cwd=work):
            return False
        archives = list(Path(work).glob("*.deb"))
        if not archives or not quietly("dpkg", "-x", str(archives[0]), str(Path(work) / "root")):
            return False
        target = folder / "bin" / program
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((Path(work) / "root" / path).read_bytes())
        target.chmod(0o755)
        return True


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    wanted = [name for name in UNPACKED if which(name) is None and not (folder / "bin" / name).exists()]
    chromium = which("chromium") is None and which("chromium-browser") is None and which("google-chrome") is None
    if not wanted and not chromium:
        return
    if which("apt-get") is None:
        say(f"not here: {', '.join(wanted + ['chromium'] * chromium)}: tests that need them are skipped")
        return
    if os.geteuid() == 0:
        quietly("apt-get", "update")
    for name in wanted:
        package, path = UNPACKED[name]
        say(f"{name}: " + ("unpacked" if unpack(name, package, path, folder) else "cannot be had"))
    if chromium:
        done = os.geteuid() == 0 and quietly("apt-get", "install", "-y", "--no-install-recommends", "chromium")
        say("chromium: " + ("installed" if done else "cannot be had"))


if __name__ == "__main__":
    main()
