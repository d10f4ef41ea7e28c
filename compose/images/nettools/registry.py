"""What is done to the cluster's own registry from inside its container's namespaces.

The plan says ``do``: "refuse" (connections to ``port`` are refused, by a rule in an iptables chain of this injection)
or "hide" (the ``tag`` of ``repository`` is moved aside in the registry's own files, and back). Standard library only.
"""

import subprocess
from pathlib import Path

REPOSITORIES = Path("/proc/1/root", "var/lib/registry/docker/registry/v2/repositories")  # of the container joined


def hold(plan, ready, over):
    clear(plan)
    if plan["do"] == "refuse":
        name = chain(plan)
        restore([f":{name} - [0:0]", f"-A {name} -p tcp --dport {int(plan['port'])} -j REJECT --reject-with tcp-reset",
                 f"-I INPUT 1 -j {name}"])
        ready("iptables REJECT in the registry's network")
    else:
        shown, hidden = places(plan)
        shown.rename(hidden)
        ready("the tag is moved aside in the registry's files")
    over.wait()
    clear(plan)


def clear(plan):
    if plan["do"] == "refuse":
        name = chain(plan)
        standing = subprocess.run(["iptables-save", "-t", "filter"], capture_output=True, check=True, text=True).stdout
        if f":{name} " in standing:
            jumps = [f"-D{line[2:]}" for line in standing.splitlines() if line.endswith(f"-j {name}")]
            restore([*jumps, f"-F {name}", f"-X {name}"])
        return
    shown, hidden = places(plan)
    if hidden.is_dir():
        if shown.exists():  # pushed again meanwhile: the new one stays
            remove(hidden)
        else:
            hidden.rename(shown)


def chain(plan):
    """iptables takes 28 characters."""
    return "TB-" + "".join(letter for letter in plan["id"] if letter.isalnum())[-24:]


def restore(lines):
    script = "\n".join(["*filter", *lines, "COMMIT", ""])
    subprocess.run(["iptables-restore", "--noflush", "--wait", "5"], input=script, text=True, check=True)


def places(plan):
    """Where the tag is, and where it is moved to: a name that no tag can have."""
    tags = REPOSITORIES.joinpath(*plan["repository"].split("/"), "_manifests", "tags")
    return tags / plan["tag"], tags / f".{plan['id']}.{plan['tag']}"


def remove(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
