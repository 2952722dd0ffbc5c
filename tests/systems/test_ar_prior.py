"""Embeddings written after their captions: they belong to them, and lie nearer to them when that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.autoregressive import DEFAULT_SAMPLING, EmbeddingTokens, TokenSampling, sample_embedding, sample_tokens
from sumi.bundles import Bundle, save_bundle, weight_hash
from sumi.conditioning import CLIP, WordTokenizer
from sumi.diffusion import seeded
from sumi.errors import SumiError
from sumi.nn import ARPriorNetwork, Cond
from sumi.systems.objectives import CaptionFeatures
from sumi.systems.unclip.ar_prior import ARPriorObjective, network
from sumi.training import TrainConfig, load_ema, train

WORDS = ("blue", "green", "red", "white")
SIZE, COUNT, BUCKETS = 8, 512, 32


def clip_and_ids() -> tuple[CLIP, Tensor]:
    torch.manual_seed(0)
    tokenizer = WordTokenizer(WORDS, 3)
    image = {"in_channels": 4, "size_px": 8, "patch": 2, "channels": [16], "blocks": [1]}
    size = {"width": 16, "depth": 1, "heads": 2}
    clip = CLIP(SIZE, image | size, {"vocabulary_size": tokenizer.size, "context": 3} | size)
    with torch.no_grad():
        for weight in clip.text.parameters():  # a new tower hardly hears one word from another
            weight.normal_(std=0.5) if weight.dim() == 2 else None
    return clip.bfloat16().float().eval().requires_grad_(False), tokenizer.encode(WORDS)


CLIP_TINY, IDS = clip_and_ids()
Z_T, HIDDEN = CLIP_TINY.encode_text(IDS)
# At right angles to each other and to every z_t, so that every caption's pictures may be as near to it or as far.
CENTRES = torch.linalg.qr(torch.cat([Z_T.T, torch.randn(SIZE, 4, generator=torch.Generator().manual_seed(8))], 1))[0].T[
    4:
]


def pairs() -> tuple[Tensor, Tensor]:
    """Which caption, and z_i: the caption's own centre, moved towards or away from z_t, and a little noise."""
    rng = torch.Generator().manual_seed(1)
    which = torch.arange(COUNT) % 4
    towards = torch.rand(COUNT, 1, generator=rng) * 2 - 1
    noise = 0.05 * torch.randn(COUNT, SIZE, generator=rng)
    return which, F.normalize(CENTRES[which] + 0.4 * towards * Z_T[which] + noise, dim=-1)


def lesson() -> ARPriorObjective:
    which, z_i = pairs()
    words = EmbeddingTokens.fit(z_i, Z_T[which], buckets=BUCKETS)
    torch.manual_seed(2)
    made = network(CLIP_TINY, words, width=48, depth=2, heads=2)
    return ARPriorObjective(made, z_i, CaptionFeatures(CLIP_TINY, IDS[which]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ARPriorNetwork:
    learning = lesson()
    plan = TrainConfig(300, 48, lr=4e-3, warmup_steps=20, precision="fp32", ema=0.98)
    for report in train(learning, plan, tmp_path_factory.mktemp("prior")):
        assert report.metrics["first"] > 0
    return learning.model.eval()


def written(
    model: ARPriorNetwork,
    cond: Cond,
    seeds: Sequence[int],
    sampling: TokenSampling = DEFAULT_SAMPLING,
    guidance: float = 1.0,
) -> Tensor:
    *_, z_i = sample_embedding(model, cond, seeded(seeds), sampling, guidance)
    return z_i


def cond(caption: int, count: int) -> Cond:
    return Cond(Z_T[caption].expand(count, -1), HIDDEN[caption].expand(count, -1, -1))


def test_what_is_written_belongs_to_its_caption(trained: ARPriorNetwork) -> None:
    for caption in range(4):
        z_i = written(trained, cond(caption, 32), range(32))
        torch.testing.assert_close(z_i.norm(dim=-1), torch.ones(32))
        assert ((z_i @ CENTRES.T).argmax(dim=1) == caption).float().mean() > 0.9


def test_the_first_word_asks_for_nearness_and_gets_it(trained: ARPriorNetwork) -> None:
    """What `written` draws begins in the top half; what begins in the lower half lies further from z_t."""
    words, nearness = EmbeddingTokens.from_network(trained), []
    for first in (BUCKETS - 1, BUCKETS // 2, 0):
        known = torch.full((32, 1), first)
        drawn = [words.decode(sample_tokens(trained, cond(k, 32), known, seeded(range(32)))) @ Z_T[k] for k in range(4)]
        nearness.append(float(torch.cat(drawn).mean()))
    assert nearness[0] > nearness[1] > nearness[2]
    asked = torch.cat([written(trained, cond(k, 32), range(32)) @ Z_T[k] for k in range(4)]).mean()
    which, z_i = pairs()
    assert asked > F.cosine_similarity(z_i, Z_T[which]).mean()


def test_guidance_brings_it_nearer_to_its_caption(trained: ARPriorNetwork) -> None:
    belongs = [
        float(torch.cat([written(trained, cond(k, 32), range(32), guidance=g) @ CENTRES[k] for k in range(4)]).mean())
        for g in (0.0, 1.0)
    ]
    assert belongs[0] < belongs[1] - 0.1


def test_a_seed_writes_the_same_alone_and_in_a_batch(trained: ARPriorNetwork) -> None:
    sampling = TokenSampling(temperature=0.8, top_p=0.9)
    together = written(trained, cond(1, 5), range(5), sampling)
    torch.testing.assert_close(written(trained, cond(1, 1), [3], sampling), together[3:4])


def test_stopped_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    plan, stopped = TrainConfig(4, 8, warmup_steps=1, precision="fp32", log_s=0.0), [False]
    for _ in train(lesson(), plan, tmp_path / "straight"):
        pass
    for report in train(lesson(), plan, tmp_path / "again", stop=lambda: stopped[0]):
        stopped[0] = report.step >= 2
    for _ in train(lesson(), plan, tmp_path / "again"):
        pass
    straight, resumed = load_ema(tmp_path / "straight"), load_ema(tmp_path / "again")
    assert all(torch.equal(resumed[name], weight) for name, weight in straight.items())


def test_saved_and_loaded_it_writes_the_same_and_knows_its_clip(tmp_path: Path) -> None:
    prior = lesson().model
    words = EmbeddingTokens.from_network(prior)
    prior = prior.bfloat16().float().eval()
    words.store_in(prior)  # buffers are kept as they are, and only weights are rounded
    taught = {"prior": {"clip": weight_hash(CLIP_TINY)}}
    save_bundle(tmp_path / "mine", system="ar_prior", parts={"clip": CLIP_TINY, "prior": prior}, trained_on=taught)
    loaded = Bundle.load(tmp_path / "mine").part("prior")
    assert isinstance(loaded, ARPriorNetwork)
    assert torch.equal(written(loaded, cond(2, 3), range(3)), written(prior, cond(2, 3), range(3)))
    other, _ = clip_and_ids()
    with torch.no_grad():
        other.bias.add_(1)
    save_bundle(tmp_path / "other", system="ar_prior", parts={"clip": other, "prior": prior}, trained_on=taught)
    with pytest.raises(SumiError, match="was trained on another clip"):
        Bundle.load(tmp_path / "other").part("prior")
