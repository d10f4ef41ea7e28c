"""What a container's termination message is: the end of its file, else (on error, where asked for) the end of its log.

Decides the limits and when the log counts; reading either is ``node/pod_messages.py``.
Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go getTerminationMessage,
pkg/kubelet/container/runtime.go MaxContainerTerminationMessage*, pkg/kubelet/status/status_manager.go normalizeStatus.
"""

from __future__ import annotations

FILE_BYTES = 4096
LOG_BYTES = 2048
LOG_LINES = 80
POD_BYTES = 12 * 1024  # of all messages in one pod's status, shared equally by its containers
FALLBACK = "FallbackToLogsOnError"


def wants_log(policy: str, left: bytes, exit_code: int) -> bool:
    """Whether the log is asked, given what the container ``left`` in its file."""
    return policy == FALLBACK and not left and exit_code != 0


def of_file(content: bytes) -> str:
    """The last 4 KiB."""
    return content[-FILE_BYTES:].decode("utf-8", "replace")


def of_log(lines: bytes) -> str:
    """``lines``: at most the last 80. Of them the last 2 KiB."""
    return lines[-LOG_BYTES:].decode("utf-8", "replace")


def share_bytes(containers: int) -> int:
    """How much of a pod's messages each of its containers may have."""
    return POD_BYTES // max(containers, 1)


def shortened(message: str, most_bytes: int) -> str:
    return message.encode()[:most_bytes].decode("utf-8", "ignore")
