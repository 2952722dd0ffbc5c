"""Pictures by the official client: drawn, edited, varied, streamed, in every format and by address."""

from __future__ import annotations

import time
from typing import Literal

import httpx
import numpy as np
import openai
import pytest
from live_server import Live, file_of, opened
from PIL import Image
from same_picture import ROUNDING, apart

DRAWN = Image.fromarray(np.full((32, 32, 4), (200, 40, 40, 255), dtype=np.uint8))


def test_the_same_seed_draws_the_same_picture_as_the_library(client: openai.OpenAI, live: Live) -> None:
    reply = client.images.generate(model="sumi", prompt="a red fox", n=2, extra_body={"seed": 7})
    expected = live.sumi.generate("a red fox", n=2, seed=7)
    assert reply.data is not None and [row.seed for row in reply.data] == [7, 8]  # type: ignore[attr-defined]
    for row, picture in zip(reply.data, expected, strict=True):
        assert apart(opened(row.b64_json), picture.image) <= ROUNDING
    assert (reply.size, reply.output_format, reply.quality, reply.background) == ("32x32", "png", "medium", "auto")
    assert reply.usage is not None and reply.usage.input_tokens == 3 and reply.usage.output_tokens == 2 * 64
    assert abs(reply.created - time.time()) < 60


def test_our_own_settings_pass_through(client: openai.OpenAI, live: Live) -> None:
    ours = {"seed": 3, "negative_prompt": "a dog", "guidance_scale": 1.5, "steps": 2, "best_of": 2, "whole": True}
    reply = client.images.generate(model="sumi", prompt="a fox", size="16x16", extra_body=ours)
    ours["balance"] = True
    wish = {"seed": 3, "negative": "a dog", "guidance": 1.5, "steps": 2, "best_of": 2, "whole": True, "balance": True}
    expected = live.sumi.generate("a fox", size=16, **wish)
    assert reply.data is not None
    image = opened(reply.data[0].b64_json)
    assert apart(image, expected.images[0]) <= ROUNDING and "Steps: 2" in image.info["parameters"]


@pytest.mark.parametrize(("size", "drawn"), [("auto", 32), ("16x16", 16), ("1024x1024", 32), ("1792x1024", 32)])
def test_sizes_are_mapped_and_the_answer_says_to_what(client: openai.OpenAI, size: str, drawn: int) -> None:
    reply = client.images.generate(model="sumi", prompt="a fox", size=size, quality="low")
    assert reply.data is not None and opened(reply.data[0].b64_json).size == (drawn, drawn)
    assert reply.size == f"{drawn}x{drawn}"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_format(client: openai.OpenAI, kind: str) -> None:
    reply = client.images.generate(
        model="sumi",
        prompt="a fox", output_format=kind, output_compression=80, background="opaque", size="16x16",  # type: ignore[call-overload]
    )  # fmt: skip
    image = opened(reply.data[0].b64_json)
    assert (image.format, image.mode, reply.output_format) == (kind.upper(), "RGB", kind)


def test_quality_is_steps(client: openai.OpenAI) -> None:
    steps = {}
    qualities: tuple[Literal["low", "medium", "high", "max"], ...] = ("low", "medium", "high", "max")
    for quality in qualities:
        reply = client.images.generate(model="sumi", prompt="a fox", size="16x16", quality=quality)
        assert reply.data is not None
        steps[quality] = opened(reply.data[0].b64_json).info["parameters"].split("Steps: ")[1].split(",")[0]
        assert reply.quality == quality
    assert steps == {"low": "2", "medium": "4", "high": "8", "max": "16"}


def test_an_address_opens_without_a_key(client: openai.OpenAI) -> None:
    reply = client.images.generate(model="sumi", prompt="a fox", size="16x16", response_format="url", user="somebody")
    assert reply.data is not None and reply.safety_identifier == "somebody"
    url = reply.data[0].url
    assert url is not None and url.startswith("http://127.0.0.1:")
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200 and answer.content.startswith(b"\x89PNG")
    assert "sandbox" in answer.headers["content-security-policy"]
    for spoilt in (
        url.replace("signature=", "signature=0"),
        url.partition("?")[0],
        url.replace("expires=", "expires=9"),
    ):
        assert httpx.get(spoilt, trust_env=False).status_code == 401


def test_a_stream_sharpens(client: openai.OpenAI) -> None:
    events = list(
        client.images.generate(model="sumi", prompt="a fox", stream=True, partial_images=2, extra_body={"seed": 5})
    )
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [getattr(event, "partial_image_index", None) for event in events] == [0, 1, None]
    assert all(opened(event.b64_json).size == (32, 32) for event in events)
    assert all(event.output_format == "png" and event.created_at and event.quality == "medium" for event in events)
    whole = client.images.generate(model="sumi", prompt="a fox", extra_body={"seed": 5})
    assert whole.data is not None and apart(opened(events[-1].b64_json), opened(whole.data[0].b64_json)) <= ROUNDING
    assert events[-1].usage.total_tokens > 0  # type: ignore[union-attr]


def test_a_stream_without_previews_has_the_end_alone(client: openai.OpenAI) -> None:
    events = list(client.images.generate(model="sumi", prompt="a fox", size="16x16", stream=True, n=2))
    assert [event.type for event in events] == ["image_generation.completed"] * 2


def test_an_edit_keeps_what_its_mask_covers(client: openai.OpenAI) -> None:
    mask = np.full((32, 32, 4), 255, dtype=np.uint8)
    mask[:, 16:, 3] = 0  # where alpha is 0 is drawn anew
    reply = client.images.edit(
        model="sumi",
        image=("fox.png", file_of(DRAWN)), mask=("mask.png", file_of(Image.fromarray(mask))), prompt="a blue dog",
        extra_body={"seed": 1},
    )  # fmt: skip
    assert reply.data is not None
    drawn = np.asarray(opened(reply.data[0].b64_json).convert("RGBA"))
    assert (drawn[:, :16] == np.asarray(DRAWN)[:, :16]).all() and (drawn[:, 16:] != np.asarray(DRAWN)[:, 16:]).any()


def test_an_edit_without_a_mask_draws_over_it(client: openai.OpenAI, live: Live) -> None:
    reply = client.images.edit(
        model="sumi", image=[file_of(DRAWN)], prompt="a dog", extra_body={"seed": "2", "strength": "0.5"}
    )
    expected = live.sumi.img2img(DRAWN, "a dog", strength=0.5, seed=2).images[0]
    assert reply.data is not None and apart(opened(reply.data[0].b64_json), expected) <= ROUNDING


def test_an_edit_streams(client: openai.OpenAI) -> None:
    events = client.images.edit(
        model="sumi", image=("a.png", file_of(DRAWN)), prompt="a dog", stream=True, partial_images=1
    )
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # theirs: OpenAI has retired it, and the client still has it
def test_variations_live_on(client: openai.OpenAI, live: Live) -> None:
    reply = client.images.create_variation(
        model="sumi", image=file_of(DRAWN), n=2, size="1024x1024", extra_body={"seed": "4"}
    )
    expected = live.sumi.vary(DRAWN, n=2, seed=4)
    assert reply.data is not None and len(reply.data) == 2
    assert all(
        apart(opened(row.b64_json), one.image) <= ROUNDING for row, one in zip(reply.data, expected, strict=True)
    )


def test_a_client_from_another_time_asks_for_dall_e(client: openai.OpenAI) -> None:
    reply = client.images.generate(model="dall-e-2", prompt="a fox", size="256x256", style="vivid", quality="hd")
    assert reply.data is not None and reply.data[0].url and not reply.data[0].b64_json
