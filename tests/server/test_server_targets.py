"""What there is to scrape, in Prometheus' own form."""

from __future__ import annotations

from testbed.server.targets import targets


def by_part(part: str, **there: bool) -> list[dict[str, str]]:
    found = targets("10.9.128.1:443", "blue", ["node-2", "node-1"], **{"gateway": True, "ingress": True, **there})
    assert all(group["targets"] == ["10.9.128.1:443"] for group in found), "all through the address that was asked"
    return [group["labels"] for group in found if group["labels"]["part"] == part]


def test_every_part_of_a_cluster_is_a_target_with_the_clusters_name() -> None:
    assert by_part("api") == [
        {"__metrics_path__": "/metrics", "job": "testbed", "instance": "blue", "part": "api"}]
    assert by_part("agent") == [
        {"__metrics_path__": f"/api/v1/nodes/{node}/proxy/metrics", "job": "testbed", "instance": "blue",
         "part": "agent", "node": node} for node in ("node-1", "node-2")]
    assert [labels["__metrics_path__"] for labels in by_part("gateway")] == ["/testbed/v1/gateway/metrics"]
    assert [labels["__metrics_path__"] for labels in by_part("haproxy")] == ["/testbed/v1/haproxy/metrics"]


def test_what_is_not_there_is_no_target() -> None:
    assert by_part("haproxy", ingress=False) == []
    assert by_part("gateway", gateway=False) == [] and by_part("haproxy", gateway=False) == []
