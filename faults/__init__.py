"""What breaks things on purpose: the chaos daemon, its faults (one small file each), its ledger and its holders.

The healer never imports this package; both meet only in the API and in the container engine.
"""
