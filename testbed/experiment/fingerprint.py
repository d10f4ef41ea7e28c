"""What makes two runs runs of the same experiment: its name and a hash of its spec. Pure.

How often it is run, with which seed and what is demanded of it may differ; manifests may too, for what they changed is
what one wants to know.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from testbed.experiment.kind import Experiment

MAY_DIFFER: Final = frozenset({"runs", "seed", "objectives", "matrix", "description"})


def spec_hash(experiment: Experiment) -> str:
    """Sixteen hexadecimal digits. Fields that are left at their default do not count: a later version may add some."""
    spec = experiment.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(MAY_DIFFER))
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
