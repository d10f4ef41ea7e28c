"""What is left on a node of a pod that the API does not have there: its containers, its files, what was remembered.

Which pods those are is left to the agent.
"""

from __future__ import annotations

import logging

from testbed.api.process_logs import about
from testbed.node.shared import Shared
from testbed.node.stopper import kill
from testbed.node.volumes import remove_volumes

log = logging.getLogger("testbed.node")


async def remove_orphan(shared: Shared, uid: str) -> None:
    log.info("pod %s is not of this node any more: removed", uid, extra=about(pod_uid=uid))
    records = shared.view.of_pod(uid)
    for record in sorted(records, key=lambda item: item.sandbox):
        if record.running:
            await kill(shared.view, record)
        await shared.engine.remove(record.id)
        record.touched_s = 0.0
        await shared.view.refresh(record.id)
    remove_volumes(shared.facts, uid)
    shared.claims.forget(uid)
    shared.checkpoint.forget(uid)
