"""Chaos Toolkit experiments: read, checked and carried out as they are; a failed experiment never ends green.

Ours, and not ``chaostoolkit-lib`` with another run loop: docs/chaos-toolkit.md says why.
"""
