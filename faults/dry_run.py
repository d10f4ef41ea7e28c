"""A dry run (annotation ``testbed.io/dry-run: "true"``): the daemon says in the object's status whom it would hit, and
why not, by the very code that would do it up to the point where something is changed."""

from __future__ import annotations

from faults import choosing
from faults.abilities import Abilities
from faults.choosing import Scene
from faults.protocol import Aim, Fault, Json, Refused, TargetGone, Tools
from faults.status import planned, preview, status

DRY_RUN = "testbed.io/dry-run"
NO_TARGET = ("NoTarget", "the selector matches nothing that runs")


def asked_for(obj: Json) -> bool:
    return choosing.notes(obj).get(DRY_RUN) == "true"


async def look(
    obj: Json, fault: Fault, tools: Tools, abilities: Abilities, scene: Scene,
) -> tuple[list[Json], tuple[str, str] | None]:
    """Records of those who would be hit; and reason and message where nobody would."""
    records = []
    try:
        await abilities.check(fault)
        targets = choosing.choose(obj, fault, scene)
        keys = {target.key for target in targets}
        chosen = {key: tuple(item for item in targets if item.key == key) for key in keys}
        for target in targets:
            plan = await fault.prepare(tools, Aim("dry-run", target, obj["spec"], chosen))
            records.append(planned(target, fault.container_of(plan)))
    except (Refused, TargetGone) as error:
        return [], ("Refused" if isinstance(error, Refused) else "NoTarget", str(error))
    return records, None if records else NO_TARGET


def told(records: list[Json], problem: tuple[str, str] | None) -> Json:
    """The status."""
    return preview(records) if problem is None else status((), desired="Stop", paused=False, problem=problem,
                                                           time_over=False)
