"""The result as JSON, as its published schema says."""

from __future__ import annotations

import json

from testbed.api.printable import printable_json
from testbed.experiment.result import Result


def render(result: Result) -> str:
    return printable_json(json.dumps(result.to_json(), indent=1, ensure_ascii=False)) + "\n"
