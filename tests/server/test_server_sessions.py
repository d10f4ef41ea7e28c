"""Sessions of the live page as values: tokens are spent once, cookies cannot be made up, and rights are the least."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.server.sessions import (
    MAX_TOKENS,
    SESSION_LIFETIME_S,
    TOKEN_LIFETIME_S,
    OneTimeTokens,
    SessionSeal,
    cookie_values,
    session_may,
)

NOW_S = 1_800_000_000.0
PODCHAOS = "/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos"
NODECHAOS = "/apis/testbed.io/v1alpha1/namespaces/default/nodechaos"


def test_a_token_is_good_once() -> None:
    tokens = OneTimeTokens()
    tokens.issue("a", NOW_S)
    assert tokens.spend("a", NOW_S + 1)
    assert not tokens.spend("a", NOW_S + 1)


def test_a_token_ends_after_a_minute() -> None:
    tokens = OneTimeTokens()
    tokens.issue("a", NOW_S)
    tokens.issue("b", NOW_S + 1)
    assert not tokens.spend("a", NOW_S + TOKEN_LIFETIME_S)
    assert tokens.spend("b", NOW_S + TOKEN_LIFETIME_S)


def test_only_so_many_tokens_wait_and_the_newest_are_good() -> None:
    tokens = OneTimeTokens()
    for number in range(10 * MAX_TOKENS):
        tokens.issue(str(number), NOW_S)
    good = [number for number in range(10 * MAX_TOKENS) if tokens.spend(str(number), NOW_S)]
    assert good == list(range(9 * MAX_TOKENS, 10 * MAX_TOKENS))


@given(st.text())
def test_no_text_is_a_token_that_was_not_given_out(text: str) -> None:
    tokens = OneTimeTokens()
    tokens.issue("a" * 64, NOW_S)
    assert not tokens.spend(text, NOW_S)


@given(st.binary(min_size=32, max_size=32), st.integers(0, SESSION_LIFETIME_S - 1))
def test_a_cookie_holds_for_twelve_hours_and_no_longer(chance: bytes, later_s: int) -> None:
    cookie = SessionSeal("secret").seal(chance, NOW_S)
    assert SessionSeal("secret").holds(cookie, NOW_S + later_s)
    assert not SessionSeal("secret").holds(cookie, NOW_S + SESSION_LIFETIME_S)


def test_another_cluster_knows_no_cookie_of_this_one() -> None:
    assert not SessionSeal("another").holds(SessionSeal("secret").seal(bytes(32), NOW_S), NOW_S)


@given(st.data())
def test_a_changed_cookie_is_none(data: st.DataObject) -> None:
    cookie = SessionSeal("secret").seal(secrets.token_bytes(32), NOW_S)
    at = data.draw(st.integers(0, len(cookie) - 1))
    other = data.draw(st.characters().filter(lambda char: char != cookie[at]))
    assert not SessionSeal("secret").holds(cookie[:at] + other + cookie[at + 1:], NOW_S)


@given(st.text())
def test_no_text_is_a_cookie(text: str) -> None:
    assert not SessionSeal("secret").holds(text, 0.0)


def test_each_session_has_keys_of_its_own_and_each_use_another() -> None:
    seal = SessionSeal("secret")
    one, other = seal.seal(bytes(32), NOW_S), seal.seal(bytes([1] * 32), NOW_S)
    keys = {seal.page_key(one), seal.files_key(one), seal.page_key(other), seal.files_key(other),
            SessionSeal("another").page_key(one)}
    assert len(keys) == 5 and all(len(key) == 43 for key in keys)
    assert not any(key in one + other for key in keys)


@pytest.mark.parametrize("header, values", [
    ("p=1", ["1"]), ("a=0; p=1; b=2", ["1"]), ("p=1; p=2", ["1", "2"]), ("p", [""]), ("xp=1;  p =3", []), ("", []),
    (";;=;p==", ["="]),
])
def test_cookies_are_read_as_browsers_send_them(header: str, values: list[str]) -> None:
    assert cookie_values(header, "p") == values


@pytest.mark.parametrize("method, path", [
    ("GET", "/ui/"), ("GET", "/ui/main.js"), ("HEAD", "/ui/"), ("GET", "/testbed/v1/live"), ("GET", "/testbed/v1/runs"),
    ("POST", PODCHAOS), ("POST", NODECHAOS), ("POST", PODCHAOS.replace("default", "shop-1")),
])
def test_a_page_may(method: str, path: str) -> None:
    assert session_may(method, path)


@pytest.mark.parametrize("method, path", [
    ("GET", "/api/v1/secrets"), ("GET", "/api/v1/namespaces/default/secrets/token"), ("GET", "/metrics"), ("GET", "/"),
    ("GET", "/ui"), ("GET", "/testbed/v1"), ("GET", "//ui/"), ("GET", "/api/v1/pods"), ("GET", PODCHAOS),
    ("POST", "/testbed/v1/sessions"), ("POST", "/testbed/v1/alerts"), ("POST", "/ui/"), ("POST", "/api/v1/namespaces"),
    ("POST", "/api/v1/namespaces/default/pods"), ("POST", "/api/v1/namespaces/default/pods/web/exec"),
    ("POST", PODCHAOS + "/x"), ("POST", PODCHAOS + "\n"), ("POST", PODCHAOS.replace("podchaos", "networkchaos")),
    ("POST", PODCHAOS.replace("default", "..")), ("POST", PODCHAOS.replace("default", "a/b")),
    ("POST", NODECHAOS.replace("nodechaos", "experiments")), ("POST", NODECHAOS.replace("v1alpha1", "v1")),
    ("PUT", PODCHAOS), ("PATCH", PODCHAOS), ("DELETE", PODCHAOS), ("DELETE", PODCHAOS + "/x"), ("CONNECT", "/ui/"),
    ("OPTIONS", "/ui/"), ("", "/ui/"),
])
def test_a_page_may_not(method: str, path: str) -> None:
    assert not session_may(method, path)


@given(st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]), st.text())
def test_a_page_changes_nothing_else_whatever_the_path(method: str, path: str) -> None:
    assert not session_may(method, path)
