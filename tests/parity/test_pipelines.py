"""Whole pipelines, from what the text tower says to pixels: diffusers' own, and ours from the same weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from parity.reference import load, randomised
from parity.test_autoencoder import KL, MOVQ
from parity.test_unclip import MASK, PRIOR
from parity.test_unet import KANDINSKY, KARLO, SD, SDXL, STABLE_UNCLIP
from torch import Tensor, nn

from sumi.diffusion import BetaSchedule, NetworkDenoiser, Rng, guide, sample
from sumi.nn import Cond, published
from sumi.nn.published import TextFeatures
from sumi.systems.published import PublishedScheduler
from sumi.systems.published.conditions import (
    KarloSuperResolution,
    kandinsky,
    karlo_super_resolution,
    prior,
    stable_diffusion,
    stable_diffusion_xl,
    stable_unclip,
    zero_text,
)

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of theirs, on NumPy 2

CHAIN = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
LATENT = SD | {"sample_size": 8}
CODEC = KL | {"scaling_factor": 0.3}
GUIDANCE = 3.0


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def both(kind: str, config: dict[str, Any], folder: Path, seed: int = 0) -> tuple[Any, nn.Module]:
    """A network of theirs with random weights, and ours from the folder that it saved."""
    torch.manual_seed(seed)
    where = sys.modules["diffusers"]
    if not hasattr(where, kind):
        paths = ("pipelines.deprecated.unclip.text_proj", "pipelines.stable_diffusion.stable_unclip_image_normalizer")
        where = next(module for path in paths if hasattr(module := pytest.importorskip(f"diffusers.{path}"), kind))
    theirs = randomised(getattr(where, kind)(**config))
    if kind == "VQModel":  # whose random norms would saturate every pixel
        theirs.decoder.conv_out.weight.data.mul_(0.05)
    theirs.save_pretrained(folder / f"{kind}-{seed}")
    return theirs, load(getattr(published, kind), folder / f"{kind}-{seed}")


def text(batch: int, width: int, pooled: int, seed: int, length: int = 5) -> TextFeatures:
    states = tuple(normal(batch, length, width, seed=seed + k) for k in range(3))
    return TextFeatures(normal(batch, length, width, seed=seed + 3), normal(batch, pooled, seed=seed + 4), states)


def draw(scheduler: PublishedScheduler, network: nn.Module, z: Tensor, cond: Cond, null: Cond | None, num_steps: int,
         rng: Rng = ()) -> Tensor:  # fmt: skip
    denoise = NetworkDenoiser(network, scheduler.target, scheduler.schedule)
    guided = denoise if null is None else guide(denoise, null, GUIDANCE)
    times = scheduler.times(num_steps)
    return sample(scheduler.sampler, guided, scheduler.initial_x(z, times), times, cond, rng)


def assert_same_pictures(ours: Tensor, theirs: Tensor) -> None:
    """Pictures (B, 3, H, W) in [-1, 1] and in [0, 1]: within a quarter of a grey level of 255."""
    ours = (ours / 2 + 0.5).clamp(0, 1)
    assert ours.shape == theirs.shape
    assert float(((theirs > 0) & (theirs < 1)).float().mean()) > 0.5, "most pixels are black or white"
    assert float((ours - theirs).abs().max()) < 0.25 / 255


class NoiseInTurn:
    """Hands the same noise to both sides, in the order it is asked for."""

    def __init__(self, seed: int) -> None:
        self.rng = torch.Generator().manual_seed(seed)

    def __call__(self, like: Any, *args: object, **kwargs: object) -> Tensor:
        return torch.randn(tuple(getattr(like, "shape", like)), generator=self.rng)


def quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("PNDMScheduler", {"skip_prk_steps": True}),
        ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ],
)
def test_stable_diffusion_pipeline_equals_diffusers(tmp_path: Path, kind: str, config: dict[str, Any]) -> None:
    (unet, our_unet), (vae, our_vae) = (
        both("UNet2DConditionModel", LATENT, tmp_path),
        both("AutoencoderKL", CODEC, tmp_path),
    )
    scheduler = getattr(diffusers, kind)(**CHAIN | config)
    pipeline = quiet(
        diffusers.StableDiffusionPipeline(vae, None, None, unet, scheduler, None, None, requires_safety_checker=False)
    )
    words, negative, z = text(2, 12, 12, 1), text(2, 12, 12, 20), normal(2, 4, 8, 8, seed=40)
    theirs = pipeline(
        prompt_embeds=words.tokens, negative_prompt_embeds=negative.tokens, latents=z, guidance_scale=GUIDANCE,
        num_inference_steps=10, output_type="pt", height=32, width=32,
    ).images  # fmt: skip
    ours = draw(
        PublishedScheduler.read({**CHAIN, **config, "_class_name": kind}), our_unet, z,
        stable_diffusion(words), stable_diffusion(negative), 10,
    )  # fmt: skip
    assert_same_pictures(our_vae.decode(ours), theirs)


@torch.no_grad()
def test_sdxl_pipeline_equals_diffusers(tmp_path: Path) -> None:
    (unet, our_unet), (vae, our_vae) = (
        both("UNet2DConditionModel", SDXL, tmp_path),
        both("AutoencoderKL", CODEC, tmp_path),
    )
    scheduler = diffusers.EulerDiscreteScheduler(**CHAIN, timestep_spacing="leading")
    pipeline = quiet(
        diffusers.StableDiffusionXLPipeline(vae, None, None, None, None, unet, scheduler, add_watermarker=False)
    )
    one, two, z = text(2, 8, 8, 1), text(2, 4, 10, 20), normal(2, 4, 8, 8, seed=40)
    sizes = (32, 48, 0, 4, 32, 32)
    words = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=2)
    theirs = pipeline(
        prompt_embeds=words, pooled_prompt_embeds=two.pooled, negative_prompt_embeds=torch.zeros_like(words),
        negative_pooled_prompt_embeds=torch.zeros_like(two.pooled), latents=z, guidance_scale=GUIDANCE,
        num_inference_steps=10, output_type="pt", height=32, width=32, original_size=sizes[:2],
        crops_coords_top_left=sizes[2:4], target_size=sizes[4:],
    ).images  # fmt: skip
    cond, null = (stable_diffusion_xl(a, b, sizes) for a, b in ((one, two), (zero_text(one), zero_text(two))))
    read = PublishedScheduler.read(CHAIN | {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"})
    assert_same_pictures(our_vae.decode(draw(read, our_unet, z, cond, null, 10)), theirs)


@torch.no_grad()
def test_stable_unclip_pipeline_equals_diffusers(tmp_path: Path) -> None:
    config = STABLE_UNCLIP | {"projection_class_embeddings_input_dim": 24}
    (unet, our_unet), (vae, our_vae) = (
        both("UNet2DConditionModel", config, tmp_path),
        both("AutoencoderKL", CODEC, tmp_path),
    )
    normalizer, our_normalizer = both("StableUnCLIPImageNormalizer", {"embedding_dim": 12}, tmp_path)
    transformers = pytest.importorskip("transformers")
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
              "image_size": 8, "patch_size": 4, "projection_dim": 12}  # fmt: skip
    encoder = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**vision)).eval()
    v = {"prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False}
    pipeline = quiet(
        diffusers.StableUnCLIPImg2ImgPipeline(
            None, encoder, normalizer, diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"), None, None, unet,
            diffusers.DDIMScheduler(**CHAIN | v), vae,
        )
    )  # fmt: skip
    words, negative, embed = text(2, 12, 12, 1), text(2, 12, 12, 20), normal(2, 12, seed=41)
    z, seed, noise_level = normal(2, 4, 8, 8, seed=40), 5, 30
    theirs = pipeline(
        image_embeds=embed, prompt_embeds=words.tokens, negative_prompt_embeds=negative.tokens, latents=z,
        generator=torch.Generator().manual_seed(seed), noise_level=noise_level, guidance_scale=GUIDANCE,
        num_inference_steps=10, output_type="pt", height=32, width=32,
    ).images  # fmt: skip
    level = BetaSchedule.cosine()(torch.tensor([(noise_level + 1) / 1000]))
    cond = stable_unclip(words, embed, our_normalizer, level, noise_level, normal(2, 12, seed=seed))
    null = Cond(torch.zeros_like(cond.vector), negative.tokens)
    read = PublishedScheduler.read(CHAIN | v | {"_class_name": "DDIMScheduler"})
    assert_same_pictures(our_vae.decode(draw(read, our_unet, z, cond, null, 10)), theirs)


@torch.no_grad()
def test_karlo_pipeline_equals_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {
        "in_channels": 6, "out_channels": 3, "block_out_channels": [8, 16], "norm_num_groups": 4, "sample_size": 16,
        "add_attention": False, "layers_per_block": 1, "down_block_types": ["ResnetDownsampleBlock2D"] * 2,
        "up_block_types": ["ResnetUpsampleBlock2D"] * 2,
    }  # fmt: skip
    network, our_prior = both("PriorTransformer", PRIOR, tmp_path)
    decoder, our_decoder = both("UNet2DConditionModel", KARLO | {"sample_size": 8}, tmp_path)
    first, our_first = both("UNet2DModel", plain, tmp_path)
    last, our_last = both("UNet2DModel", plain, tmp_path, seed=1)
    proj, our_proj = both(
        "UnCLIPTextProjModel", {"clip_embeddings_dim": 12, "time_embed_dim": 32, "cross_attention_dim": 12}, tmp_path
    )
    configs = [{"prediction_type": "sample", "clip_sample_range": 5.0}, {"variance_type": "learned_range"}, {}]
    schedulers = [diffusers.UnCLIPScheduler(**config) for config in configs]
    module = pytest.importorskip("diffusers.pipelines.deprecated.unclip.pipeline_unclip")
    pipeline = quiet(module.UnCLIPPipeline(network, decoder, None, None, proj, first, last, *schedulers))
    words, negative = text(2, 12, 12, 1, length=6), text(2, 12, 12, 20, length=6)
    null_mask = torch.tensor([[True, True, False, False, False, False]] * 2)
    encoded = (
        torch.cat([negative.pooled, words.pooled]), torch.cat([negative.tokens, words.tokens]),
        torch.cat([null_mask, MASK]),
    )  # fmt: skip
    monkeypatch.setattr(pipeline, "_encode_prompt", lambda *args: encoded)
    z, z_2, z_3 = normal(2, 12, seed=40), normal(2, 3, 8, 8, seed=41), normal(2, 3, 16, 16, seed=42)
    monkeypatch.setattr("diffusers.schedulers.scheduling_unclip.randn_tensor", NoiseInTurn(9))
    theirs = pipeline(
        ["", ""], prior_num_inference_steps=6, decoder_num_inference_steps=6, super_res_num_inference_steps=4,
        prior_latents=z, decoder_latents=z_2, super_res_latents=z_3, prior_guidance_scale=GUIDANCE,
        decoder_guidance_scale=GUIDANCE, output_type="np",
    ).images  # fmt: skip

    monkeypatch.setattr("sumi.diffusion.ancestral.normal", NoiseOfSteps(9))
    reads = [PublishedScheduler.read(config | {"_class_name": "UnCLIPScheduler"}) for config in configs]
    embed = our_prior.denormalise(draw(reads[0], our_prior, z, prior(words, MASK), prior(negative, null_mask), 6))
    cond = our_proj(embed, words.pooled, words.tokens, MASK)
    null = our_proj(our_proj.null_image_embed.expand(2, -1), negative.pooled, negative.tokens, null_mask)
    small = draw(reads[1], our_decoder, z_2, cond, null, 6)
    enlarging = KarloSuperResolution(our_first, our_last)
    large = draw(reads[2], enlarging, z_3, karlo_super_resolution(small, 16), None, 4)
    assert_same_pictures(large, torch.from_numpy(theirs).permute(0, 3, 1, 2))


class NoiseOfSteps(NoiseInTurn):
    """As `NoiseInTurn`, but a walk's last step, which adds none, asks for none of it."""

    def __call__(self, like: Tensor, rng: object) -> Tensor:
        steps = 4 if like.shape[-1] == 16 else 6
        self.asked = getattr(self, "asked", 0) + 1
        if self.asked == steps:
            self.asked = 0
            return torch.zeros_like(like)
        return super().__call__(like)


@torch.no_grad()
@pytest.mark.parametrize("variance", ["learned_range", "fixed_small"])
def test_kandinsky_pipeline_equals_diffusers(tmp_path: Path, variance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, our_unet = both("UNet2DConditionModel", KANDINSKY | {"sample_size": 8}, tmp_path)
    movq, our_movq = both("VQModel", MOVQ, tmp_path)
    config = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False,
              "variance_type": variance}  # fmt: skip
    pipeline = quiet(diffusers.KandinskyV22Pipeline(unet, diffusers.DDPMScheduler(**config), movq))
    embed, negative, z = normal(2, 10, seed=1), normal(2, 10, seed=2), normal(2, 4, 8, 8, seed=40)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", NoiseInTurn(9))
    theirs = pipeline(
        embed,
        negative,
        latents=z,
        height=16,
        width=16,
        num_inference_steps=6,
        guidance_scale=GUIDANCE,
        output_type="np",
    ).images
    monkeypatch.setattr("sumi.diffusion.ancestral.normal", NoiseOfSteps(9))
    read = PublishedScheduler.read(config | {"_class_name": "DDPMScheduler"}, variance=True)
    latents = draw(read, our_unet, z, kandinsky(embed), kandinsky(negative), 6)
    assert_same_pictures(our_movq.decode(latents), torch.from_numpy(theirs).permute(0, 3, 1, 2))
