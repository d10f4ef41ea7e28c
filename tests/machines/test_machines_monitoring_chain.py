"""From a scrape to an Event: a real Prometheus and a real Alertmanager with the configuration that we make, and our
rules, against a control plane of which nothing can be scraped."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.page_world import PageWorld
from support.prometheus import Prometheus, free_port, running

from testbed.api import resources as r
from testbed.machines.monitoring_config import Access, alertmanager_config, prometheus_config, text
from testbed.resources import rule_files


async def test_alerts_of_a_cluster_arrive_as_its_events(tmp_path: Path) -> None:
    world = PageWorld(tmp_path)
    world.node("node-1")
    access = Access(world.url.removeprefix("https://"), world.instance.name, str(world.instance.token_file),
                    str(world.instance.ca_certificate))
    ports = free_port(), free_port()
    (tmp_path / "alertmanager.yml").write_text(text(alertmanager_config([access])))
    (tmp_path / "prometheus.yml").write_text(text(prometheus_config(
        [access], [str(file) for file in rule_files()], f"127.0.0.1:{ports[0]}")))
    async with world.serving():
        with running("alertmanager", tmp_path, ports[0], f"--config.file={tmp_path / 'alertmanager.yml'}",
                     f"--storage.path={tmp_path / 'am'}", "--cluster.listen-address="), \
                running("prometheus", tmp_path, ports[1], f"--config.file={tmp_path / 'prometheus.yml'}",
                        f"--storage.tsdb.path={tmp_path / 'tsdb'}") as address:
            told = await told_within(world, 40)
            targets = Prometheus(address).targets()
    name = world.instance.name
    assert told == {("AlertFiring: Watchdog", "Namespace", "default"), ("AlertFiring: TargetDown", "Node", "node-1"),
                    ("AlertFiring: TargetDown", "Namespace", "default")}
    assert {(item["labels"]["job"], item["labels"]["instance"], item["labels"]["part"]) for item in targets} == {
        ("testbed", name, "api"), ("testbed", name, "agent"), ("testbed", name, "gateway")}


async def told_within(world: PageWorld, seconds: float) -> set[tuple[str, str, str]]:
    """Reason with the alert's name, and the object it is about: once the slowest of the three, after five seconds of a
    target that is down, is there."""
    async with asyncio.timeout(seconds):
        while True:
            events = [item.value for item in world.registry.list(r.EVENTS).items]
            told = {(f"{event['reason']}: {event['message'].partition(':')[0]}", event["involvedObject"]["kind"],
                     event["involvedObject"]["name"]) for event in events}
            if sum("TargetDown" in item[0] for item in told) > 1:
                return told
            await asyncio.sleep(0.1)
