"""Keeps the pods of a node apart from those of other nodes, in the gateway, which all traffic between pods passes.

A table of its own, so that whoever programs the gateway never touches it. Packets are dropped, those of established
connections too: nothing answers, nothing is refused. The plan: ``table``; ``node``, its range of pod addresses;
``friends``, ranges that stay reachable; ``around``, the range of all pods; ``to`` and ``from``, whether what the node
sends and what it is sent is dropped. Standard library and nft(8).
"""

import json
import subprocess

PRIORITY = -5  # before the gateway's own forward chain


def rules(plan):
    """One transaction: the table as it shall be, whatever was there."""
    table, node, around = plan["table"], plan["node"], plan["around"]
    friends = ", ".join(sorted({*plan["friends"], node}))
    lines = []
    if plan["to"]:
        lines.append(f"  ip saddr {node} ip daddr {around} ip daddr != {{ {friends} }} counter name to drop")
    if plan["from"]:
        lines.append(f"  ip saddr {around} ip saddr != {{ {friends} }} ip daddr {node} counter name from drop")
    return "\n".join([
        f"add table ip {table}", f"delete table ip {table}", f"table ip {table} {{",
        " counter to { }", " counter from { }",
        f" chain apart {{ type filter hook forward priority {PRIORITY}; policy accept;", *lines, " }", "}", ""])


def hold(plan, ready, over):
    _nft(["-f", "-"], rules(plan))
    ready(f"nftables in the gateway, table {plan['table']}")
    over.wait()
    clear(plan)


def clear(plan):
    table = plan["table"]
    _nft(["-f", "-"], f"add table ip {table}\ndelete table ip {table}\n")


def seen(question):
    """``{"table"}``: whether its rules are in the kernel and how many packets they have swallowed."""
    listed = subprocess.run(["nft", "-j", "list", "table", "ip", question["table"]], capture_output=True, text=True)
    if listed.returncode:
        return {"rules": 0, "to": 0, "from": 0}
    found = json.loads(listed.stdout)["nftables"]
    counters = {item["counter"]["name"]: item["counter"]["packets"] for item in found if "counter" in item}
    return {"rules": sum("rule" in item for item in found), **{name: counters.get(name, 0) for name in ("to", "from")}}


def _nft(arguments, text):
    done = subprocess.run(["nft", *arguments], input=text, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"nft: {done.stderr.strip()[:300]}")
