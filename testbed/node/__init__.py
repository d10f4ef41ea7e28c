"""The node agent: the kubelet's part. It runs one node's pods, probes them, restarts them and says so."""
