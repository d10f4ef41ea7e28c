"""A container engine on a machine that has none: installed and started, for root on Debian and Ubuntu.

Decides when an engine may be installed or started here, and clears away what an engine that died uncleanly left
behind. Images are left to ``setup.py``.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from shutil import which

from testbed.errors import EngineUnavailable, EnvironmentProblem, PermissionMissing
from testbed.machines.narration import Narrator
from testbed.runtime.images import Images

LOG = Path("/var/log/testbed-dockerd.log")
RUN = Path("/var/run")
ANSWER_DEADLINE_S = 90.0
PACKAGE_DEADLINE_S = 1200.0


def ensure_engine(narrator: Narrator) -> bool:
    """Returns when an engine answers; True when it was started here.

    Raises: EnvironmentProblem with the one line that says what to install, where we may not do it ourselves.
    """
    try:
        Images().close()
        return False
    except EngineUnavailable as error:
        problem = error
    where = os.environ.get("DOCKER_HOST", "")
    if where:
        raise EnvironmentProblem(f"the container engine at DOCKER_HOST={where} does not answer",
                                 hint="start it, or unset DOCKER_HOST to use this machine's own")
    if "may not be opened" in problem.message:
        raise PermissionMissing(problem.message, hint=problem.hint)
    if os.geteuid() != 0:
        raise EnvironmentProblem("no container engine runs, and only root may start one",
                                 hint="start it: sudo systemctl start docker, or run once: sudo testbed setup")
    running = processes_named("dockerd")
    if running:
        narrator.say(f"dockerd runs already (process {running[0]}); waiting until it answers")
        _await_answer(None)
        return False
    if which("dockerd") is None:
        if not debian():
            raise EnvironmentProblem("no container engine is installed",
                                     hint="install Docker Engine with this system's package manager, then run again")
        narrator.say("no container engine is installed: installing docker.io with apt-get")
        install_packages(("docker.io", "iptables"), narrator)
    _start(narrator)
    return True


def debian() -> bool:
    """Whether this is Debian, Ubuntu or a relative with apt-get."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return False
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    names = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").split()
    return bool({"debian", "ubuntu"} & set(names)) and which("apt-get") is not None


def install_packages(packages: Iterable[str], narrator: Narrator) -> None:
    """apt-get install. Root on Debian only. Raises: EnvironmentProblem with the last lines that apt-get said."""
    names = list(packages)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
    if not booted_with_systemd():
        environment["RUNLEVEL"] = "1"  # invoke-rc.d then starts nothing: dockerd is started below, with its own log
    options = ["-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    with narrator.task("installing " + " ".join(names)) as task:
        for argv in (["apt-get", "update", *options[2:]], ["apt-get", "install", *options, *names]):
            said: list[str] = []
            with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, errors="replace", env=environment) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    said = [*said[-8:], line.rstrip()]
                    task.update(line.strip())
            # A failed update may come from a foreign source of packages; the install tells whether it matters.
            if process.returncode and argv[1] == "install":
                raise EnvironmentProblem("apt-get could not install " + " ".join(names) + ":\n" + "\n".join(said),
                                         hint="install it yourself: apt-get install " + " ".join(names))


def booted_with_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()  # systemd: sd_booted(3)


def processes_named(name: str) -> list[int]:
    """Process ids whose command name is ``name``, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        command, _, rest = stat.partition("(")[2].rpartition(")")
        if command == name and rest.split()[0] != "Z":
            found.append(int(folder.name))
    return sorted(found)


def _start(narrator: Narrator) -> None:
    if booted_with_systemd():
        narrator.say("starting the container engine: systemctl start docker")
        done = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return _await_answer(None)
        narrator.say(f"systemctl could not: {done.stderr.strip()}; starting dockerd by itself")
    _mount_cgroups(narrator)
    clear_leftovers()
    narrator.say(f"starting dockerd, its log is {LOG}")
    process = _spawn()
    try:
        _await_answer(process)
    except EnvironmentProblem:
        if process.poll() is None or not _iptables_at_fault():
            raise
        # Kernels without nf_tables support reject Debian's default iptables.
        narrator.say("dockerd cannot use iptables-nft on this kernel: trying iptables-legacy")
        for tool in ("iptables", "ip6tables"):
            subprocess.run(["update-alternatives", "--set", tool, f"/usr/sbin/{tool}-legacy"],
                           capture_output=True, check=False)
        clear_leftovers()
        _await_answer(_spawn())


def _spawn() -> subprocess.Popen[bytes]:
    """dockerd in a session of its own, so that it outlives this process and its terminal."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        return subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                start_new_session=True)


def clear_leftovers() -> None:
    """Removes what a dockerd that was killed left behind and the next one would stumble over.

    dockerd and its containerd each refuse to start, or wait for a stranger, when the process number in their pid file
    is in use again (moby: pkg/pidfile, libcontainerd/supervisor). A containerd that outlived its dockerd is kept:
    dockerd takes it over.
    """
    for file, command in ((RUN / "docker.pid", "dockerd"),
                          (RUN / "docker/containerd/containerd.pid", "containerd")):
        try:
            pid = int(file.read_text())
        except (OSError, ValueError):
            pid = 0
        if pid not in processes_named(command):
            file.unlink(missing_ok=True)
    if not processes_named("containerd"):
        for socket in (RUN / "docker/containerd").glob("*.sock*"):
            socket.unlink(missing_ok=True)
    (RUN / "docker.sock").unlink(missing_ok=True)


def _mount_cgroups(narrator: Narrator) -> None:
    """A machine without an init system may have no cgroup mounted at all."""
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    if any(fields[2] in ("cgroup", "cgroup2") and fields[1].startswith("/sys/fs/cgroup") for fields in mounted):
        return
    if which("cgroupfs-mount") is None:
        install_packages(("cgroupfs-mount",), narrator)
    subprocess.run(["cgroupfs-mount"], capture_output=True, check=False)


def _iptables_at_fault() -> bool:
    tail = LOG.read_text(errors="replace")[-8000:]
    return "iptables" in tail and Path("/usr/sbin/iptables-legacy").exists()


def _await_answer(process: subprocess.Popen[bytes] | None) -> None:
    """Raises: EnvironmentProblem when the engine ends or does not answer within ANSWER_DEADLINE_S."""
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    while time.monotonic() < deadline:
        try:
            Images().close()
            return
        except EngineUnavailable:
            if process is not None and process.poll() is not None:
                break
            time.sleep(0.2)
    said = ""
    if process is not None and LOG.is_file():
        said = ":\n" + "\n".join(LOG.read_text(errors="replace").splitlines()[-3:])
    raise EnvironmentProblem(f"the container engine does not come up{said}",
                             hint=f"see {LOG}" if process is not None else "see its log: journalctl -u docker")
