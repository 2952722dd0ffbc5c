"""The official client, as it is, against a server that listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import live_server
import openai
import pytest

from sumi import Sumi


@pytest.fixture(scope="session")
def live(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[live_server.Live]:
    with live_server.serving(tiny, tmp_path_factory.mktemp("openai")) as server:
        yield server


@pytest.fixture
def client_for(live: live_server.Live) -> Iterator[Callable[..., openai.OpenAI]]:
    """A client with a token, which asks once and not again."""
    made: list[openai.OpenAI] = []

    def make(token: str = "", **more: Any) -> openai.OpenAI:
        http = openai.DefaultHttpxClient(trust_env=False)
        more = {"max_retries": 0, **more}
        made.append(openai.OpenAI(api_key=token or live.token, base_url=f"{live.url}/v1", http_client=http, **more))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(client_for: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    return client_for()
