"""``make bench``: the product's figures as ratios against a named peer or limit, taken in one run.

Nothing here passes or fails a build: machines differ, ratios wander. Each file measures one subject and gives ``Row``s.
"""
