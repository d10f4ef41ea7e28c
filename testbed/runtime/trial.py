"""One-off containers that tell what this kernel and engine can do. Used by ``testbed doctor`` alone.

Each trial has its own namespaces, no network, and is removed whatever happens.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from testbed.errors import EngineError, NoSuchImage

NETTOOLS = "testbed-nettools:1"
DEADLINE_S = 20

# Prints one JSON object: what worked, by name. Runs inside the tools image, in a network namespace of its own.
_KERNEL = r"""
import json, subprocess
def works(*commands):
    for command in commands:
        if subprocess.run(command.split(), capture_output=True).returncode:
            return False
    return True
tc = "tc qdisc replace dev lo root "
print(json.dumps({
    "netem": works("ip link set lo up", tc + "netem delay 1ms"),
    "tbf": works(tc + "tbf rate 1mbit burst 32kbit latency 400ms"),
    "nft": works("nft add table ip trial", "nft add chain ip trial nat { type nat hook prerouting priority 0 ; }",
                 "nft add rule ip trial nat tcp dport 80 dnat to 127.0.0.1:8080"),
    "nfqueue": works("iptables -A OUTPUT -p tcp --dport 9 -j NFQUEUE --queue-num 1 --queue-bypass")
               or works("nft add chain ip trial out { type filter hook output priority 0 ; }",
                        "nft add rule ip trial out tcp dport 9 queue num 1 bypass"),
    "statistic": works("iptables -A OUTPUT -m statistic --mode random --probability 0.5 -j DROP"),
}))
"""

# What an engine inside a container needs: mounts, an overlay on a file system of its own, cgroups.
_NESTED = r"""
import json, os, subprocess
def works(command):
    return subprocess.run(command, shell=False, capture_output=True).returncode == 0
os.makedirs("/trial", exist_ok=True)
ok = works(["mount", "-t", "tmpfs", "tmpfs", "/trial"])
for name in ("lower", "upper", "work", "merged"):
    os.makedirs("/trial/" + name, exist_ok=True)
ok = ok and works(["mount", "-t", "overlay", "overlay", "-o",
                   "lowerdir=/trial/lower,upperdir=/trial/upper,workdir=/trial/work", "/trial/merged"])
print(json.dumps({"nested": ok}))
"""


def kernel_abilities(url: str = "") -> dict[str, bool]:
    """What faults on networks need, by name: netem, tbf, nft, nfqueue, statistic.

    Raises: EngineError when the trial could not be run, NoSuchImage where ``testbed setup`` has not been run.
    """
    return _trial(url, _KERNEL, {"cap_add": ["NET_ADMIN", "NET_RAW"]})


def nested_engines(url: str = "") -> bool:
    """Whether a container may be given enough for an engine of its own. Raises: as ``kernel_abilities``.

    Not asked for ``privileged``: engines that lack one capability themselves refuse it whole.
    """
    try:
        return _trial(url, _NESTED, {
            "cap_add": ["SYS_ADMIN", "NET_ADMIN", "NET_RAW", "MKNOD"],
            "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
            "binds": ["/sys/fs/cgroup:/sys/fs/cgroup:rw"]})["nested"]
    except NoSuchImage:
        raise
    except EngineError:
        return False


def _trial(url: str, program: str, host_config: dict[str, Any]) -> dict[str, bool]:
    from testbed.runtime.images import sdk_client, translated

    with translated():
        client = sdk_client(url, timeout_s=DEADLINE_S)
        container = ""
        try:
            container = client.create_container(
                NETTOOLS, ["python3", "-I", "-c", program], labels={"testbed.io/role": "trial"},
                host_config=client.create_host_config(network_mode="none", **host_config))["Id"]
            client.start(container)
            code = client.wait(container, timeout=DEADLINE_S)["StatusCode"]
            printed = client.logs(container, stdout=True, stderr=False).decode(errors="replace").strip()
            if code != 0:
                raise EngineError(f"a trial container ended with {code}", hint="run: testbed setup")
            answer: dict[str, bool] = json.loads(printed.splitlines()[-1])
            return answer
        finally:
            if container:
                with suppress(Exception):
                    client.remove_container(container, force=True, v=True)
            client.close()
