"""Which experiments are compared, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "experiments"
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Comparison:
    """One experiment on several platforms; ``step``: whose recovery is told. ``note``: what the reader must know."""

    name: str
    title: str
    file: Path
    step: str
    platforms: tuple[str, ...]
    note: str = ""


ORCHESTRATORS = ("testbed", "compose", "compose-autoheal", "compose-autoheal-equal-timers", "swarm",
                 "swarm-equal-timers")
SEVERAL_NODES = ("testbed", "swarm", "swarm-equal-timers")
RECOVERIES = (
    Comparison("crash", "A container dies", EXAMPLES / "crash.yaml", "crash", ORCHESTRATORS),
    Comparison("hang", "A container hangs", HERE / "hang.yaml", "hang", ORCHESTRATORS),
    Comparison("node-loss", "A node loses its power for a minute", HERE / "node-loss.yaml", "lose-a-node",
               SEVERAL_NODES,
               "Every node is a container with an engine of its own. Plain Docker has one engine: with it everything "
               "is lost until its power is back, and nothing is there that could heal."),
    Comparison("update", "A new version is shipped", HERE / "update.yaml", "ship-v2", ORCHESTRATORS),
)
STRATEGIES = ("recreate", "rolling", "blue-green", "canary")
SHIPPED = tuple(
    Comparison(f"{strategy}-{quality}", f"{strategy}, {quality} version", HERE / f"{strategy}-{quality}.yaml",
               "undo" if quality == "bad" else "ship", ("testbed",))
    for strategy in STRATEGIES for quality in ("good", "bad"))
