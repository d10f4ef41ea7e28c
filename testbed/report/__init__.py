"""Reports: one file per format, all made from one `testbed.experiment.result.Result`.

Each has ``render(result) -> str``: ``terminal``, ``json``, ``junit``, ``markdown``, ``html``. They only say what the
result holds; nothing is measured or judged here.
"""
