"""etcd's part: a synchronous, versioned object store with watch, over SQLite."""

from testbed.store.changes import Change, Stored, Subscription
from testbed.store.store import Store

__all__ = ["Change", "Store", "Stored", "Subscription"]
