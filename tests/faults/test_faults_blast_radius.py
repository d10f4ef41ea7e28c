"""How much may be broken at a time: never above the limit, one pod always."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import blast_radius
from faults.blast_radius import allowed, check_nodes, check_pods, workload_of
from faults.protocol import Refused, Target
from faults.registry import Registry

Json = dict[str, Any]


def pod(name: str, owner: tuple[str, str] | None = ("ReplicaSet", "web-1a2b"), template: str = "1a2b") -> Json:
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    return {"metadata": {"name": name, "namespace": "default", "uid": name, "ownerReferences": owners,
                         "labels": {"pod-template-hash": template} if template else {}}}


def targets(*uids: str) -> list[Target]:
    return [Target("default", uid, uid) for uid in uids]


def web(number: int) -> list[Json]:
    return [pod(f"web-{index}") for index in range(number)]


@pytest.mark.parametrize(("limit", "total", "most"), [
    ("50%", 1, 1), ("50%", 2, 1), ("50%", 3, 1), ("50%", 4, 2), ("50%", 5, 2), ("1%", 50, 1), ("100%", 7, 7),
    ("3", 2, 3), ("1", 9, 1), ("34%", 3, 1), ("67%", 3, 2),
])
def test_what_a_limit_leaves(limit: str, total: int, most: int) -> None:
    assert allowed(limit, total) == most


@pytest.mark.parametrize("limit", [
    "", "0", "0%", "101%", "-1", "-5%", "50 %", "1.5", "half", "%", "9" * 40, "٣", "5\n"])
def test_what_is_no_limit_is_refused(limit: str) -> None:
    with pytest.raises(Refused, match="is not a limit"):
        allowed(limit, 3)
    fault = {"kind": "PodChaos", "metadata": {"annotations": {"testbed.io/max-pods": limit}},
             "spec": {"action": "pod-kill", "mode": "one"}}
    (mistake,) = Registry().mistakes(fault)
    assert mistake.field == "metadata.annotations[testbed.io/max-pods]"


@pytest.mark.parametrize(("made", "workload"), [
    (pod("a"), "Deployment/default/web"),
    (pod("a", ("ReplicaSet", "web-1a2b"), ""), "ReplicaSet/default/web-1a2b"),
    (pod("a", ("ReplicaSet", "alone"), "1a2b"), "ReplicaSet/default/alone"),
    (pod("db-0", ("StatefulSet", "db"), ""), "StatefulSet/default/db"),
    (pod("a", None), "Pod/default/a/a"),
])
def test_the_workload_of_a_pod(made: Json, workload: str) -> None:
    assert workload_of(made) == workload


@pytest.mark.parametrize(("number", "chosen", "hurt", "limit", "says"), [
    (4, 2, 0, None, ""), (4, 3, 0, None, "3 of the 4 pods of Deployment web; the limit is 50%, which is 2"),
    (1, 1, 0, None, ""), (2, 1, 0, None, ""), (2, 2, 0, None, "2 of the 2"), (4, 4, 0, "100%", ""), (4, 3, 0, "3", ""),
    (4, 4, 0, "3", "the limit is 3"), (4, 1, 1, None, ""), (4, 2, 1, None, "while 1 of them is hit already"),
    (2, 1, 1, None, "while 1 of them is hit already"), (2, 1, 1, "100%", ""),
])
def test_pods_of_one_workload(number: int, chosen: int, hurt: int, limit: str | None, says: str) -> None:
    names = [f"web-{index}" for index in range(number)]
    notes = {} if limit is None else {"testbed.io/max-pods": limit}

    def check() -> None:
        check_pods(targets(*names[:chosen]), targets(*names[number - hurt:]), web(number), notes)

    if says:
        with pytest.raises(Refused, match=says) as refused:
            check()
        assert blast_radius.MAX_PODS in refused.value.hint
    else:
        check()


def test_workloads_are_counted_each_for_itself_and_old_revisions_with_new_ones() -> None:
    db = [pod(f"db-{index}", ("StatefulSet", "db"), "") for index in range(2)]
    check_pods(targets("web-0", "db-0"), (), web(2) + db, {})
    rolling = [pod("old", ("ReplicaSet", "web-9"), "9"), *web(1)]
    with pytest.raises(Refused, match="2 of the 2 pods of Deployment web"):
        check_pods(targets("old", "web-0"), (), rolling, {})
    check_pods(targets("a", "b", "c"), (), [pod(name, None) for name in "abc"], {})


def test_the_same_pod_hit_twice_counts_once_and_what_is_gone_not_at_all() -> None:
    check_pods(targets("web-0", "web-0"), targets("web-0"), web(2), {})
    check_pods(targets("web-0"), targets("gone"), web(2), {})


def test_a_kill_counts_until_its_workload_is_ready_again() -> None:
    def workload(ready: bool) -> list[Json]:
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        return [{**item, "status": status} if ready or index else item for index, item in enumerate(web(4))]

    dead = [Target("default", uid, uid, workload="Deployment/default/web") for uid in ("gone-1", "gone-2")]
    other = [Target("default", "x", "x", workload="Deployment/default/db")]
    check_pods(targets("web-1"), (), workload(True), {}, dead)
    check_pods(targets("web-1"), (), workload(False), {}, other)
    with pytest.raises(Refused, match="1 of the 4 pods of Deployment web while 2 of them are hit already"):
        check_pods(targets("web-1"), (), workload(False), {}, dead)


@pytest.mark.parametrize(("chosen", "hurt", "limit", "says"), [
    (["n1"], [], None, ""), (["n1"], ["n1"], None, ""), (["n1", "n2"], [], None, "2 of the 3 nodes"),
    (["n1"], ["n2"], None, "while n2 is hit already"), (["n1"], ["n2"], "2", ""), (["n1", "n2", "n3"], [], "100%", ""),
    (["n1", "n2", "n3"], [], "2", "the limit is 2"), (["n1", "n2"], [], "50%", "which is 1"),
])
def test_nodes(chosen: list[str], hurt: list[str], limit: str | None, says: str) -> None:
    notes = {} if limit is None else {"testbed.io/max-nodes": limit}
    if says:
        with pytest.raises(Refused, match=says) as refused:
            check_nodes(chosen, hurt, ["n1", "n2", "n3"], notes)
        assert blast_radius.MAX_NODES in refused.value.hint
    else:
        check_nodes(chosen, hurt, ["n1", "n2", "n3"], notes)


@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4), data=st.data(),
       limit=st.one_of(st.integers(1, 100).map(lambda share: f"{share}%"), st.integers(1, 15).map(str)))
def test_what_passes_is_never_above_the_limit(sizes: list[int], data: st.DataObject, limit: str) -> None:
    pods = [pod(f"{index}-{number}", ("StatefulSet", f"set-{index}"), "")
            for index, size in enumerate(sizes) for number in range(size)]
    uids = [item["metadata"]["uid"] for item in pods]
    chosen = data.draw(st.lists(st.sampled_from(uids), unique=True))
    hurt = data.draw(st.lists(st.sampled_from(uids), unique=True))
    try:
        check_pods(targets(*chosen), targets(*hurt), pods, {"testbed.io/max-pods": limit})
        passed = True
    except Refused:
        passed = False
    share = int(limit[:-1]) / 100 if limit.endswith("%") else None
    for index, size in enumerate(sizes):
        mine = {uid for uid in uids if uid.startswith(f"{index}-")}
        if not mine & set(chosen):
            continue
        hit = len(mine & {*chosen, *hurt})
        above = hit > 1 and hit > (share * size + 1e-9 if share is not None else int(limit))
        assert not (passed and above)
    if len({*chosen, *hurt}) <= 1:
        assert passed
