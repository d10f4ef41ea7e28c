"""Where an alert's link leads: rules and dashboards as they are shipped, and as one cluster's monitoring is given them.

Shipped, they name the document, ``docs/runbooks.md#deploymentdown``, for nobody knows yet at which port a cluster will
be. A browser opens the page that the cluster serves of that document (``server/runbooks.py``), at the address that
``testbed ui`` prints too. Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from testbed.server.sessions import RUNBOOKS

SHIPPED = "docs/runbooks.md"
_NAMED = re.compile(rf"(\w+) \({re.escape(SHIPPED)}#(\w+)\)")  # as dashboards name an alert (dashboards/panels.py)


def page_at(api: str) -> str:
    """``api``: host and port of the cluster's API."""
    return f"https://{api}{RUNBOOKS}"


def rules_with_links(text: str, page: str) -> str:
    """A file of rules whose runbooks are at ``page``."""
    return text.replace(f"runbook_url: {SHIPPED}#", f"runbook_url: {page}#")


def one_file(rules: Iterable[str]) -> str:
    """Files of rules as one: what each has below its line ``groups:``, below one such line, comments and all."""
    return "groups:\n" + "\n".join(text.replace("groups:\n", "", 1) for text in rules)


def board_with_links(text: str, page: str) -> str:
    """A dashboard whose descriptions, which Grafana reads as Markdown, link to ``page``."""
    linked = _NAMED.sub(rf"[\1]({page}#\2)", text)
    return linked.replace(SHIPPED, f"[the runbooks]({page})")
