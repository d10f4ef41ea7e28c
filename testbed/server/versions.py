"""A second version of a kind: its objects are stored in one form and shown and read in another.

Decides where the conversion happens: after what a client wrote was judged by the field names of its own version, and
before an answer leaves. In between there is only the stored form.
"""

from __future__ import annotations

import json
from typing import Any

from testbed.server.served import Served
from testbed.store import Stored

Json = dict[str, Any]


def stored_form(served: Served, obj: Json) -> Json:
    return served.view.to_stored(obj) if served.view is not None else obj


def shown_value(served: Served, obj: Json) -> Json:
    return served.view.from_stored(obj) if served.view is not None else obj


def shown(served: Served, stored: Stored) -> Stored:
    """One stored object as the version that was asked for shows it."""
    if served.view is None:
        return stored
    value = served.view.from_stored(stored.fresh())
    return Stored(stored.namespace, stored.name, stored.revision, json.dumps(value, separators=(",", ":")), value)
