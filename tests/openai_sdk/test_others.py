"""Models, embeddings, moderations, provenance, and every error class of the official client."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import live_server
import numpy as np
import openai
import pytest
import torch
from live_server import Live, file_of, opened
from PIL import Image

from sumi.serving import SchedulerLimits
from sumi.store import Limits as Allowance

DRAWN = Image.new("RGBA", (32, 32), (200, 40, 40, 255))
Maker = Callable[..., openai.OpenAI]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("gpt-image-1").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-7'") as refused:
        client.models.retrieve("gpt-7")
    assert refused.value.code == "model_not_found"


def test_embeddings_are_those_of_clip(client: openai.OpenAI, live: Live) -> None:
    texts = ["a red fox", "a dog"]
    plain = client.embeddings.create(input=texts, model="tiny", encoding_format="float")
    packed = client.embeddings.create(input=texts, model="text-embedding-3-small")  # base64, which it asks for itself
    with torch.no_grad():
        expected = live.sumi.pipeline.read(texts).z_t.numpy()
    for reply in (plain, packed):
        assert np.allclose([row.embedding for row in reply.data], expected, atol=1e-6)
        assert reply.usage.total_tokens == 5 and [row.index for row in reply.data] == [0, 1]


def test_moderations(client: openai.OpenAI) -> None:
    several = client.moderations.create(input=["a red fox", "a n.u.d.e", "a nude person"])
    assert [row.flagged for row in several.results] == [False, True, True]
    row = several.results[2]
    assert row.categories.sexual and not row.categories.sexual_minors and row.category_scores.sexual == 1.0
    assert row.category_applied_input_types.sexual == ["text"] and len(row.categories.model_dump(by_alias=True)) == 13
    parts = [{"type": "text", "text": "a fox"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert not client.moderations.create(input=parts).results[0].flagged  # type: ignore[arg-type]


def test_provenance_is_what_a_file_says_of_itself(client: openai.OpenAI) -> None:
    drawn = client.images.generate(model="sumi", prompt="a fox", size="16x16").data
    assert drawn is not None
    ours = client.content_provenance_checks.create(file=("a.png", file_of(DRAWN)))
    assert [result.outcome for result in ours.results] == ["not_detected"] * 5
    theirs = client.content_provenance_checks.create(file=("a.png", base64.b64decode(drawn[0].b64_json or "")))
    assert [result.outcome for result in theirs.results] == [
        "detected", "not_detected", "detected", "not_detected", "detected",
    ]  # fmt: skip
    assert theirs.results[2].model == "tiny" and theirs.results[4].model_dump()["similar"][0]["distance"] == 0
    assert theirs.object == "content_provenance_check"
    signed = theirs.results[0]
    assert signed.type == "c2pa" and (signed.outcome, signed.validation_state) == ("detected", "trusted")
    assert (signed.issuer, signed.model) == ("Sumi on this machine", "tiny") and signed.generated_at is not None


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_provenance_of_an_edit_names_its_source_and_a_change_shows(client: openai.OpenAI, kind: str) -> None:
    settings: dict[str, Any] = {"model": "sumi", "output_format": kind, "size": "16x16"}
    drawn = client.images.generate(prompt="a fox", **settings).data
    source = base64.b64decode(drawn[0].b64_json or "")
    edited = client.images.edit(prompt="a dog", image=(f"a.{kind}", source), **settings).data
    result = base64.b64decode(edited[0].b64_json or "")
    found = client.content_provenance_checks.create(file=("a.png", result)).results[0].model_dump()
    assert found["validation_state"] == "trusted" and found["digital_source_type"] == "trainedAlgorithmicMedia"
    assert [(one["relationship"], one["manifest"]) for one in found["ingredients"]] == [("parentOf", "valid")]
    changed = client.content_provenance_checks.create(file=("a.png", result + b"text")).results[0].model_dump()
    assert (changed["outcome"], changed["validation_state"]) == ("not_detected", "invalid")


# Errors. ---------------------------------------------------------------------------------------------------------


def checked(error: openai.APIStatusError, code: str, param: str | None = None) -> None:
    """Every error has its four keys and the id of its request."""
    assert isinstance(error.body, dict) and {"message", "type", "param", "code"} <= error.body.keys()
    assert (error.code, error.param) == (code, param)
    assert error.request_id is not None and error.request_id.startswith("req_")


def test_400_says_which_parameter(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="this model draws 16x16, 32x32") as refused:
        client.images.generate(model="sumi", prompt="a fox", size="100x100")
    checked(refused.value, "invalid_size", "size")
    with pytest.raises(openai.BadRequestError, match="less than or equal to 10") as refused:
        client.images.generate(model="sumi", prompt="a fox", n=11)
    checked(refused.value, "invalid_value", "n")
    with pytest.raises(openai.BadRequestError, match="unknown parameter: 'sees'") as refused:
        client.images.generate(model="sumi", prompt="a fox", extra_body={"sees": 1})
    checked(refused.value, "unknown_parameter", "sees")
    with pytest.raises(openai.BadRequestError, match="prompt is empty"):
        client.images.generate(model="sumi", prompt="  ")
    with pytest.raises(openai.BadRequestError, match="damaged, or not one of PNG"):
        client.images.edit(model="sumi", image=b"no picture", prompt="a fox")


def test_400_of_the_policy(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(model="sumi", prompt="a nude person")
    checked(refused.value, "moderation_blocked", "prompt")
    assert refused.value.type == "image_generation_user_error"
    body = {"anyway": True}  # the tiny model knows no such word
    assert client.images.generate(prompt="a nude person", moderation="low", size="16x16", extra_body=body).data


def test_401_without_a_good_key(client_for: Maker, live: Live) -> None:
    revoked = live.key()
    live.store.keys.revoke(revoked.key.id)
    for token in ("sk-sumi-nobody", "sk-proj-of-another-house", revoked.token):
        with pytest.raises(openai.AuthenticationError) as refused:
            client_for(token).models.list()
        checked(refused.value, "invalid_api_key")


def test_403_without_the_scope(client_for: Maker, live: Live) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client_for(live.key("read").token).images.generate(model="sumi", prompt="a fox")
    checked(refused.value, "missing_scope")


def test_404_of_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.images.generate(prompt="a fox", model="sora")
    checked(refused.value, "model_not_found", "model")


def test_409_of_an_idempotency_key_used_twice(client: openai.OpenAI) -> None:
    once = {"Idempotency-Key": "one of a kind"}
    first = client.images.generate(model="sumi", prompt="a fox", size="16x16", extra_headers=once)
    again = client.images.generate(model="sumi", prompt="a fox", size="16x16", extra_headers=once)
    assert first.data is not None and again.data is not None and first.data[0].b64_json == again.data[0].b64_json
    with pytest.raises(openai.ConflictError) as refused:
        client.images.generate(model="sumi", prompt="a dog", size="16x16", extra_headers=once)
    checked(refused.value, "idempotency_key_in_use")
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_413_of_too_much(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.embeddings.create(input="a" * 2**21, model="tiny")
    assert refused.value.status_code == 413
    checked(refused.value, "request_too_large")


def test_429_of_a_key_that_has_used_its_share(client_for: Maker, live: Live) -> None:
    client = client_for(live.key(limits=Allowance(requests_per_minute=2)).token)
    client.models.list()
    client.models.list()
    with pytest.raises(openai.RateLimitError) as refused:
        client.models.list()
    checked(refused.value, "rate_limit_exceeded")
    headers = refused.value.response.headers
    assert headers["x-should-retry"] == "true" and 1 <= int(headers["retry-after"]) <= 60


def test_429_that_waiting_does_not_help(client_for: Maker, live: Live) -> None:
    client = client_for(live.key(limits=Allowance(pixel_steps_per_day=10)).token)
    with pytest.raises(openai.RateLimitError) as refused:
        client.images.generate(model="sumi", prompt="a fox")
    headers = refused.value.response.headers
    assert headers["x-should-retry"] == "false" and "retry-after" not in headers


def test_429_at_once_where_too_much_waits(live: Live, tmp_path: Path) -> None:
    busy = {"queued": 1, "limits": SchedulerLimits(running=1)}
    with live_server.serving(live.sumi, tmp_path, **busy) as server, server.client() as http:
        long = {"kind": "generate", "prompt": "a fox", "steps": 1000, "n": 64, "size": 16}
        asked = [http.post("/v1/jobs", json=long) for _ in range(8)]
        refused = [reply for reply in asked if reply.status_code == 429]
        assert refused and all(reply.status_code in (202, 429) for reply in asked)
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        for reply in asked:
            if reply.status_code == 202:  # none of these had ended when the others were refused
                assert http.post(f"/v1/jobs/{reply.json()['id']}/cancel").json()["status"] == "canceled"


def test_500_is_told_as_such_and_not_tried_again(
    client_for: Maker, live: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret of the house")

    monkeypatch.setattr(live.store.jobs, "page", fail)
    before = len(caplog.records)
    with pytest.raises(openai.InternalServerError) as refused:
        client_for(max_retries=2).get("/jobs", cast_to=object)
    checked(refused.value, "server_error")
    assert "secret" not in str(refused.value) and refused.value.response.headers["x-should-retry"] == "false"
    assert len(caplog.records) == before + 1


def test_the_asynchronous_client(live: Live) -> None:
    async def draw() -> list[openai.types.ImagesResponse]:
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(api_key=live.token, base_url=f"{live.url}/v1", http_client=http) as client:
            asked = (
                client.images.generate(model="sumi", prompt="a fox", size="16x16", extra_body={"seed": 9})
                for _ in range(6)
            )
            return await asyncio.gather(*asked)

    pictures = [opened(reply.data[0].b64_json).tobytes() for reply in asyncio.run(draw()) if reply.data]
    assert len(pictures) == 6 and len(set(pictures)) == 1
