"""A profile of timing constants as the words that stand beside a platform's figures."""

from __future__ import annotations

from testbed.core.profile import Profile
from testbed.experiment.platforms.protocol import Timing


def timing_of(profile: Profile) -> Timing:
    """What of ``profile`` sets the pace of recovery. Probes are the manifest's own, on every platform of Kubernetes."""
    return (
        ("profile", profile.name),
        ("node is lost after", f"{profile.node_monitor_grace_s:g} s without a lease"),
        ("leases looked at every", f"{profile.node_monitor_period_s:g} s"),
        ("pods stay on a lost node for", f"{profile.default_toleration_s:g} s, or as they tolerate"),
        ("crash back-off", f"{profile.crash_backoff_initial_s:g} s doubling to {profile.crash_backoff_max_s:g} s"),
        ("probes", "as the manifest says"),
    )
