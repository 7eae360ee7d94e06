"""Servers for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests share; each uses session names of its own."""
    one = Server(tmp_path_factory.mktemp("shared") / "data")
    yield one
    one.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers for one test."""
    started: list[Server] = []

    def begin(*flags: str) -> Server:
        started.append(Server(tmp_path / f"data{len(started)}", *flags))
        return started[-1]

    yield begin
    for one in started:
        one.stop()
