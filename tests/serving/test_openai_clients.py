"""What programs written for OpenAI send. Each body has the fields that the program's public source puts together.

    LangChain    langchain_community/utilities/dalle_image_generator.py, DallEAPIWrapper.run with its defaults
    LiteLLM      litellm/images/main.py, image_generation: the model without its provider, the prompt, what was set
    Open WebUI   backend/open_webui/routers/images.py, image_generations and image_edits with the engine "openai"

The values of the fields are ours where the program has no default, and `steps` is added to draw fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import live_server
import pytest
from live_server import Live, file_of, opened
from PIL import Image

from sumi import Sumi
from sumi.serving.uploads import Uploads

LANGCHAIN_DALLE = {"prompt": "a fox", "n": 1, "size": "1024x1024", "model": "dall-e-2", "quality": "standard"}
LITELLM_BARE = {"model": "dall-e-2", "prompt": "a fox"}
LITELLM = {"model": "dall-e-3", "prompt": "a fox", "n": 1, "size": "1024x1024", "quality": "hd", "style": "vivid"}
OPEN_WEBUI = {"model": "dall-e-2", "prompt": "a fox", "n": 1, "size": "512x512", "response_format": "b64_json"}
OPEN_WEBUI_GPT = {"model": "gpt-image-1", "prompt": "a fox", "n": 1, "size": "1024x1024"}
STEPS = {"steps": 1}


@pytest.fixture(scope="module")
def live(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server.serving(tiny, tmp_path_factory.mktemp("clients")) as server:
        yield server


@pytest.fixture
def http(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def datum(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()["data"][0]
    return found


@pytest.mark.parametrize(
    "body",
    [LANGCHAIN_DALLE, LITELLM_BARE, LITELLM, {"prompt": "a fox"}, {"prompt": "a fox", "model": "openai/dall-e-3"}],
)
def test_images_of_dall_e_or_no_model_default_to_urls(http: httpx.Client, body: dict[str, Any]) -> None:
    found = datum(http.post("/v1/images/generations", json=body | STEPS))
    assert "b64_json" not in found
    assert opened(httpx.get(found["url"], trust_env=False).content).width == 32


@pytest.mark.parametrize("body", [OPEN_WEBUI, OPEN_WEBUI_GPT, {"prompt": "a fox", "model": "sumi"}])
def test_images_of_other_models_default_to_base64(http: httpx.Client, body: dict[str, Any]) -> None:
    found = datum(http.post("/v1/images/generations", json=body | STEPS))
    assert "url" not in found
    assert opened(found["b64_json"]).width == 32


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "gpt-image-1", "prompt": "a fox"},
        {"model": "gpt-image-1", "prompt": "a fox", "n": "1", "size": "1024x1024", "background": "transparent"},
        {"model": "dall-e-2", "prompt": "a fox", "n": "1", "size": "512x512", "response_format": "b64_json"},
    ],
)
@pytest.mark.parametrize("name", ["image", "image[]"])  # one picture, and a list of pictures that holds one
def test_edits_as_open_webui_sends_them_are_drawn(http: httpx.Client, fields: dict[str, str], name: str) -> None:
    picture = file_of(Image.linear_gradient("L").convert("RGBA"))
    files = {name: ("6ba7b810-9dad-11d1-80b4-00c04fd430c8.png", picture, "image/png")}
    reply = http.post("/v1/images/edits", data=fields | {"steps": "1"}, files=files)
    assert opened(datum(reply)["b64_json"]).width == 32


def test_form_with_empty_fields_ignores_them(http: httpx.Client) -> None:
    picture = file_of(Image.linear_gradient("L").convert("RGBA"))
    fields = {"prompt": "a fox", "steps": "1", "size": "", "user": "", "model": "sumi"}
    files = {"image": ("a.png", picture, "image/png"), "mask": ("", b"", "application/octet-stream")}
    body, kind = form(fields, files)
    reply = http.post("/v1/images/edits", content=body, headers={"Content-Type": kind})
    assert opened(datum(reply)["b64_json"]).width == 32
    body, kind = form({"prompt": ""}, {"image": ("a.png", picture, "image/png")})
    reply = http.post("/v1/images/edits", content=body, headers={"Content-Type": kind})
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, "missing parameter: 'prompt'")


def form(fields: dict[str, str], files: dict[str, tuple[str, bytes, str]]) -> tuple[bytes, str]:
    """A form as browsers write it; httpx leaves out what is empty."""
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    for name, (filename, data, kind) in files.items():
        head = f'name="{name}"; filename="{filename}"\r\nContent-Type: {kind}\r\n\r\n'
        parts.append(head.encode() + data)
    body = b"".join(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
    return body + b"--x--\r\n", "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    "model",
    ["clip", "CLIP", "clip-vit-base-patch32", "text-embedding-3-small", "text-embedding-ada-002",
     "openai/text-embedding-3-large", "text-similarity-davinci-001", "text-search-ada-doc-001"],
)  # fmt: skip
def test_embeddings_under_openai_model_names_are_answered(http: httpx.Client, model: str) -> None:
    body = {"model": model, "input": ["a fox", "a dog"], "encoding_format": "base64"}
    reply = http.post("/v1/embeddings", json=body)
    assert reply.status_code == 200 and len(reply.json()["data"]) == 2
    assert http.post("/v1/embeddings", json=body | {"model": "llama-3"}).status_code == 404


def test_embeddings_of_token_ids_are_refused(http: httpx.Client) -> None:
    """LangChain's OpenAIEmbeddings sends numbers unless check_embedding_ctx_length=False."""
    reply = http.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": [[64, 39935]]})
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "input"


# What is refused leaves nothing behind. ----------------------------------------------------------------------------


def files_in(live: Live) -> set[str]:
    return set(live.store.files.digests())


def test_refused_request_leaves_no_file_in_the_store(live: Live, http: httpx.Client) -> None:
    from sumi.store import Limits

    before = files_in(live)
    picture = ("a.png", file_of(Image.radial_gradient("L").convert("RGBA")), "image/png")
    for fields in (
        {"prompt": "a fox", "size": "7x7"},
        {"prompt": "a fox", "model": "another"},
        {"prompt": "a fox" * 2000},
        {"prompt": "a fox", "output_format": "jpeg", "background": "transparent"},
    ):
        assert http.post("/v1/images/edits", data=fields, files={"image": picture}).status_code in (400, 404)
    poor = live.key("draw", limits=Limits(pixel_steps_per_day=1))
    with live.client(poor.token) as client:
        fields = {"prompt": "a fox", "steps": "1"}
        assert client.post("/v1/images/edits", data=fields, files={"image": picture}).status_code == 429
        assert client.post("/v1/images/variations", files={"image": picture}).status_code == 429
    assert files_in(live) == before


def test_several_pictures_are_refused_before_decoding(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        raise AssertionError("a picture was opened")

    monkeypatch.setattr(Uploads, "open", never)
    files = [("image[]", (f"{number}.jpg", b"noise", "image/jpeg")) for number in range(16)]
    for route, fields in (("edits", {"prompt": "a fox"}), ("variations", {})):
        reply = http.post(f"/v1/images/{route}", data=fields, files=files)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "image")
    url = "data:image/png;base64,AAAA"
    reply = http.post("/v1/images/edits", json={"prompt": "a fox", "images": [{"image_url": url}] * 16})
    assert "was sent 16 times" in reply.json()["error"]["message"]
