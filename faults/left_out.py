"""Kinds of Chaos Mesh that are left out on purpose, each with what does its work here. Actions of kinds that there are
say it themselves (``Fault.left_out``).

Source: chaos-mesh api/v1alpha1, the kinds of its group.
"""

from __future__ import annotations

from testbed.api.resources import CHAOS_MESH_GROUP

_HERE = "faults here hit containers and nodes of this machine, never a cloud's"
_KERNEL = "the kernel is shared with the machine and everything on it"
KINDS = {
    "Workflow": "an Experiment runs faults one after another and beside each other: steps with at and after",
    "WorkflowNode": "an Experiment runs faults one after another and beside each other",
    "StatusCheck": "an Experiment's steadyState checks before and after, its budget while a fault is in force",
    "PhysicalMachineChaos": "NodeChaos hits nodes, the machines of this cluster: kill, freeze, partition and more",
    "PhysicalMachine": "NodeChaos hits nodes, the machines of this cluster",
    "KernelChaos": f"{_KERNEL}; IOChaos with errno makes file operations fail, StressChaos takes memory",
    "JVMChaos": "nothing is put into a program here; HTTPChaos, IOChaos and StressChaos hurt it from outside",
    "BlockChaos": "NodeChaos slow-disk slows a node's disk, IOChaos latency a volume",
    "AWSChaos": f"{_HERE}; NodeChaos kill is what ec2-stop does",
    "AzureChaos": f"{_HERE}; NodeChaos kill is what vm-stop does",
    "GCPChaos": f"{_HERE}; NodeChaos kill is what node-stop does",
    "RemoteCluster": "a cluster is chosen with testbed --name, a real one by its kubeconfig; a fault stays in its own",
}


def instead(api_version: str, kind: str) -> str:
    """Why this kind is refused and what to use; empty when it is not one of those that are left out."""
    group = api_version.partition("/")[0]
    reason = KINDS.get(kind) if group == CHAOS_MESH_GROUP else None
    return f"{kind} of Chaos Mesh is left out: {reason}" if reason else ""
