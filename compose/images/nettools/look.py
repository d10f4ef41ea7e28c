"""Tells what can be seen from where it runs: ``look.py WHAT QUESTION`` prints JSON.

WHAT is a function of a module beside this file, ``module.function``; QUESTION, JSON, is its only argument. It must
change nothing. Standard library only.
"""

import importlib
import json
import sys
from pathlib import Path


def main(arguments):
    if len(arguments) != 2 or "." not in arguments[0]:
        sys.stderr.write(__doc__)
        return 2
    module, function = arguments[0].split(".", 1)
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        sys.stdout.write(json.dumps(getattr(importlib.import_module(module), function)(json.loads(arguments[1]))))
    except (OSError, ValueError, LookupError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
