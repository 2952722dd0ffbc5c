"""What the host program has set in torch changes no picture, and is as it was after every public call."""

from __future__ import annotations

import ast
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sumi.bundles import Bundle
from sumi.pipelines import Picture, Progress, Request
from sumi.systems.unclip import assemble
from sumi.systems.unclip.artist import Sumi

ROOMS = ("pipelines", "diffusion", "codecs", "conditioning", "autoregressive")
LONGEST_S = 240
"""Far more than a child needs on a busy machine: only one that hangs takes so long."""


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


HOSTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "another device": lambda: torch.device("meta"),
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "gradients": torch.enable_grad,
    "inference": torch.inference_mode,
    "deterministic": deterministic,
}


def picture() -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    return Image.fromarray(levels)


def mask() -> np.ndarray[Any, Any]:
    covered = np.zeros((20, 24), dtype=bool)
    covered[5:15, 5:15] = True
    return covered


def pixels(pictures: list[Picture]) -> list[bytes]:
    return [drawn.image.convert("RGBA").tobytes() for drawn in pictures]


def events(artist: Sumi) -> list[object]:
    told: list[object] = []
    for event in artist.stream(Request("a red fox", seed=7)):
        if isinstance(event, Progress):
            seen = artist.preview(event)
            told += [event.mean.tolist(), None if seen is None else seen.tolist()]
        else:
            told.append(event.image.tobytes())
    return told


def replayed(artist: Sumi) -> list[bytes]:
    drawn = artist.edit(picture(), "a fox", mask(), seed=7)[0]
    again = [event for event in artist.replay(drawn.recipe, drawn.image) if isinstance(event, Picture)]
    return pixels(again)


def explained(artist: Sumi) -> list[object]:
    found = artist.explain(artist.generate("a red fox", seed=7)[0].recipe)
    return [(word.text, word.share, word.change.tolist()) for word in found.words]


CALLS: dict[str, Callable[[Sumi], object]] = {
    "generate": lambda artist: pixels(artist.generate("a red fox", n=2, seed=7)),
    "generate the best, away from another": lambda artist: pixels(
        artist.generate("a red fox", seed=7, best_of=2, negative="a dog", background="#ffd700")
    ),
    "vary": lambda artist: pixels(artist.vary(picture(), seed=7)),
    "vary from its noise": lambda artist: pixels(artist.vary(picture(), seed=7, eta=0.5)),
    "edit": lambda artist: pixels(artist.edit(picture(), "a fox", mask(), seed=7)),
    "expand": lambda artist: pixels(artist.edit(picture(), expand=(3, 0, 0, 2), seed=7)),
    "blend": lambda artist: pixels(artist.blend(picture(), picture().rotate(90), frames=2, seed=7)),
    "restyle": lambda artist: pixels(artist.restyle(picture(), "a red fox", "a blue fox", seed=7)),
    "explore": lambda artist: pixels(artist.explore(picture(), dims=3, seed=7)),
    "img2img": lambda artist: pixels(artist.img2img(picture(), "a fox", seed=7)),
    "upscale": lambda artist: pixels(artist.upscale(picture(), seed=7)),
    "stream and preview": events,
    "replay": replayed,
    "explain": explained,
    "rank": lambda artist: artist.rank([picture()], "a red fox"),
    "classify": lambda artist: artist.classify(picture(), "fox,dog"),
    "notes": lambda artist: artist.notes(Request("a purple fox")),
}


def settings() -> tuple[object, ...]:
    """All that a host can have set."""
    return (
        torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"),
        torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.random.initial_seed(),
        torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state()),
    )  # fmt: skip


@pytest.fixture(scope="module")
def right(tiny: Sumi) -> dict[str, object]:
    """What each call returns where the host has set nothing."""
    return {name: call(tiny) for name, call in CALLS.items()}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", CALLS)
def test_what_the_host_has_set_changes_nothing(name: str, host: str, tiny: Sumi, right: dict[str, object]) -> None:
    with HOSTS[host]():
        before = settings()
        found = CALLS[name](tiny)
        assert settings() == before
    assert found == right[name]


@pytest.mark.parametrize("host", HOSTS)
def test_a_model_that_is_loaded_there_is_the_same(host: str, tiny_folder: Path, right: dict[str, object]) -> None:
    import sumi

    with HOSTS[host]():
        before = settings()
        artist = sumi.load(tiny_folder)
        assert settings() == before
    assert isinstance(artist, Sumi) and CALLS["generate"](artist) == right["generate"]


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_the_hosts(threads: int, tiny: Sumi, right: dict[str, object]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        (drawn, _), (wanted, _) = CALLS["generate"](tiny), right["generate"]  # type: ignore[misc]
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.abs(np.frombuffer(drawn, np.uint8).astype(int) - np.frombuffer(wanted, np.uint8)).max() <= 2


def test_threads_of_the_host_draw_side_by_side(tiny: Sumi, right: dict[str, object]) -> None:
    names = ["generate", "vary", "edit", "classify"] * 2
    with default_dtype(torch.float64), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: CALLS[name](tiny), names))
        assert torch.get_default_dtype() == torch.float64
    assert found == [right[name] for name in names]


@pytest.mark.parametrize("host", HOSTS)
def test_the_host_finds_its_settings_between_two_steps(host: str, tiny: Sumi) -> None:
    with HOSTS[host]():
        before = settings()
        for _ in tiny.stream(Request("a red fox", seed=7)):
            assert settings() == before


def test_a_seed_of_the_host_is_not_used(tiny: Sumi, right: dict[str, object]) -> None:
    torch.manual_seed(1)
    random.seed(1)
    drawn = {tiny.generate("a fox")[0].seed}
    torch.manual_seed(1)
    random.seed(1)
    assert CALLS["generate"](tiny) == right["generate"]
    drawn |= {tiny.generate("a fox")[0].seed for _ in range(3)}
    assert len(drawn) > 1, "a random seed is random, whatever the host has seeded"


def test_an_artist_made_of_a_bundle_alone_draws_inside_inference_mode(tiny_bundle: Bundle) -> None:
    with torch.inference_mode():
        artist = assemble(Bundle.load(tiny_bundle.folder))
        assert artist.generate("a fox", seed=1)
    assert artist.generate("a fox", seed=1)


def test_every_tensor_that_drawing_makes_names_its_dtype() -> None:
    """The default dtype is the whole process's: a thread that draws may not switch it for a thread that trains."""
    import sumi

    makers = {"full", "zeros", "ones", "empty", "linspace", "rand", "randn", "logspace"}
    nameless = []
    for path in (path for room in ROOMS for path in (Path(sumi.__file__).parent / room).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        kept = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Parameter", "register_buffer"))
            for inner in ast.walk(node)
        }  # a network's weights, which loading makes float32
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)) or id(node) in kept:
                continue
            names = {keyword.arg for keyword in node.keywords}
            if ast.unparse(node.func.value) == "torch" and node.func.attr in makers and "dtype" not in names:
                nameless.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
    assert nameless == []


# A child of fork. OpenMP's threads are not copied, so the second parallel region would wait for them for ever.

FORKED = """
import os, sys
import torch
import sumi
torch.set_num_threads(2)
artist = sumi.load()
draw = lambda: artist.generate("a red fox", seed=7, size=64, steps=1)[0].image.tobytes()
drawn = draw()
child = os.fork()
if child == 0:
    os._exit(0 if len(draw()) == len(drawn) and artist.classify("fox.png", "fox,dog") else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_draws(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "fox.png")
    host = subprocess.Popen([sys.executable, "-W", "ignore", "-c", FORKED], cwd=tmp_path, start_new_session=True)
    try:
        assert host.wait(LONGEST_S) == 0
    finally:
        if host.poll() is None:
            os.killpg(host.pid, signal.SIGKILL)
            host.wait()
