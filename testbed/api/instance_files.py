"""Where the clusters of this user lie on disk, and how the file of one is written and read.

What stands in it is ``instance``.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from testbed.api.instance import Instance, NodeInstance, check_name
from testbed.errors import EnvironmentProblem


def state_root() -> Path:
    """``$XDG_STATE_HOME/testbed``."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "testbed"


def instance_directory(name: str) -> Path:
    return state_root() / check_name(name)


def save_instance(instance: Instance) -> None:
    """Writes ``instance.json`` whole, 0600, by rename."""
    value = asdict(instance) | {"directory": str(instance.directory)}
    temporary = instance.file.with_suffix(".json.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(value, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(instance.file)


def load_instance(directory: Path) -> Instance:
    """Raises: EnvironmentProblem when no cluster was made there, or its file cannot be read."""
    try:
        value = json.loads((directory / "instance.json").read_text())
        nodes = tuple(NodeInstance(**node) for node in value.pop("nodes"))
        value["node_ports"] = tuple(value["node_ports"])
        value["ingress_ports"] = tuple(value.get("ingress_ports") or ())
        value["directory"] = directory
        return Instance(nodes=nodes, **value)
    except FileNotFoundError:
        raise EnvironmentProblem(
            f"cluster {directory.name!r} is not up", hint=f"start it: testbed up --name {directory.name}"
        ) from None
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise EnvironmentProblem(f"{directory / 'instance.json'} cannot be read: {error}",
                                 hint=f"remove it: testbed down --name {directory.name}") from error
