"""The OpenAPI document lists every route, and schemathesis finds no answer that contradicts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hypothesis
import live_server
import pytest
import schemathesis
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from live_server import Live
from schemathesis import checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sumi import Sumi

ROUTES = {
    "/health",
    "/metrics",
    "/ready",
    "/v1/adapters",
    "/v1/adapters/{name}",
    "/v1/adapters/{name}/picture",
    "/v1/adapters/{name}/resume",
    "/v1/adapters/{name}/stop",
    "/v1/content_provenance_checks",
    "/v1/embeddings",
    "/v1/files/{name}",
    "/v1/gallery",
    "/v1/gallery/{picture}",
    "/v1/gallery/{picture}/content",
    "/v1/gallery/{picture}/layers",
    "/v1/gallery/{picture}/nearest",
    "/v1/gallery/{picture}/openraster",
    "/v1/gallery/{picture}/words",
    "/v1/images/edits",
    "/v1/images/generations",
    "/v1/images/variations",
    "/v1/jobs",
    "/v1/jobs/{job}",
    "/v1/jobs/{job}/cancel",
    "/v1/jobs/{job}/events",
    "/v1/models",
    "/v1/models/{model}",
    "/v1/moderations",
    "/v1/reviews",
    "/v1/reviews/{review}",
    "/v1/reviews/{review}/picture",
}
HELD = [checks.not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def live(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("schema")
    with pytest.MonkeyPatch.context() as patch, live_server.serving(tiny, folder, queued=10_000) as server:
        patch.setenv("SUMI_ADAPTERS", str(folder / "adapters"))
        yield server


def test_openapi_document_lists_every_route(live: Live) -> None:
    with live.client() as http:
        document = http.get("/openapi.json").json()
    assert document["paths"].keys() == ROUTES
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"] and operation["responses"].keys() >= {"4XX", "5XX"}, (method, path)
            assert "422" not in operation["responses"]


def test_server_answers_conform_to_the_openapi_document(live: Live) -> None:
    headers = {"Authorization": f"Bearer {live.token}"}
    schema = schemathesis.openapi.from_url(f"{live.url}/openapi.json", headers=headers)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert {operation.path for operation in operations} == ROUTES
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            with suppress(Unsatisfiable):  # where nothing can be said, nothing can be said wrong
                held(operation.as_strategy(generation_mode=mode), headers)


def held(cases: SearchStrategy[Any], headers: dict[str, str]) -> None:
    """Send some requests of one operation."""

    @hypothesis.given(case=cases)
    @hypothesis.settings(
        max_examples=4, deadline=None, derandomize=True, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    def send(case: Any) -> None:
        if isinstance(case.body, dict) and case.path.startswith(("/v1/jobs", "/v1/images")):
            case.body = {**case.body, "steps": 1, "n": 1}  # how long it draws is not the question
        case.call_and_validate(checks=HELD, headers=headers, timeout=60)

    send()
