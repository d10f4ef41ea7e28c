"""Which `up` has ended well, so that a driver that was killed during one types it again, and no other.

It is not in the API: there ``observedGeneration`` says what was begun. A file that cannot be read means that nothing is
known, and one more `up` does no harm where everything is as it should be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from testbed.api.instance import Instance


def _file(instance: Instance) -> Path:
    return instance.directory / "ups.json"


def read_done(instance: Instance) -> dict[str, int]:
    """Generations by the Deployments' uids."""
    try:
        return {str(uid): int(generation) for uid, generation in json.loads(_file(instance).read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_done(instance: Instance, done: Mapping[str, int]) -> None:
    """Whole, by rename. Raises: OSError."""
    temporary = _file(instance).with_suffix(".json.new")
    temporary.write_text(json.dumps(dict(done)))
    temporary.replace(_file(instance))
