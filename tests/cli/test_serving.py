"""`sumi keys`, and what `sumi serve` refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sumi.store import open_store

from .conftest import Ran


def test_keys_create_list_and_revoke_a_key(command: Callable[..., Ran]) -> None:
    made = command("keys", "create", "ada", "--scope", "read", "--days", "2", "--requests", "60")
    token, key_id = made.out.strip(), made.err.split()[0]
    assert made.status == 0 and token.startswith("sk-sumi-") and len(token) >= 8 + 128 / 6
    listed = command("keys", "list").out
    assert key_id in listed and "read" in listed and "valid until" in listed and "ada" in listed and token not in listed
    with open_store("sumi-data") as store:
        key = store.keys.find(token)
        assert key is not None and key.requests_per_minute == 60
    assert command("keys", "revoke", key_id).out == f"{key_id} (ada) is revoked\n"
    assert "revoked" in command("keys", "list").out
    with open_store("sumi-data") as store:
        assert store.keys.find(token) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("serve", "--host", "0.0.0.0"),
            "other machines can reach 0.0.0.0, so it needs keys: make one with `sumi keys create NAME`",
        ),
        (("serve", "--port", "70000"), "a port is a number from 0 to 65535, not 70000"),
        (("studio", "--port", "70000"), "a port is a number from 0 to 65535, not 70000"),
        (("serve", "--database", "mysql:" + "//x"), "a database of the kind 'mysql' is not supported"),
        (("serve", "--replicas", "2"), "--replicas needs --engine ray"),
        (("serve", "--pictures", "nowhere:" + "//x"), "cannot keep pictures at nowhere://x"),
        (("keys", "revoke", "key_1"), "there is no key 'key_1': `sumi keys list` shows them"),
        (("keys", "create", "a", "--scope", "own"), "there is no scope 'own': the scopes are draw, read, admin"),
        (("keys", "create", "a", "--jobs", "0"), "concurrent jobs must be 1 or more, not 0"),
    ],
)
def test_command_with_bad_input_prints_one_line(
    command: Callable[..., Ran], arguments: tuple[str, ...], said: str
) -> None:
    ran = command(*arguments)
    assert (ran.status, ran.out) == (2, "") and said in ran.err and ran.err.count("\n") == 1
