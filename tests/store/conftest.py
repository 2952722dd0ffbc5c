"""Stores for tests: each test that takes one runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import postgresql
import pytest

from sumi.store import Key, NewPicture, Store, open_store

PNG = b"\x89PNG, or so it says"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sumi.db'}"
    return postgresql.empty(request.getfixturevalue("postgresql_server"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with open_store(tmp_path, url, clock) as opened:
        yield opened


@pytest.fixture
def key(store: Store) -> Key:
    return store.keys.create("somebody").key


@pytest.fixture
def draw() -> Callable[..., NewPicture]:
    """A picture, as an engine delivers it."""

    def make(prompt: str = "a red fox", data: bytes = PNG, **more: object) -> NewPicture:
        return NewPicture(data, "image/png", 64, 64, prompt, {"seed": 7}, **more)  # type: ignore[arg-type]

    return make
