"""Networks of published models, with the parameter names and the configurations of diffusers and transformers.

Reading a folder of theirs is therefore the identity: `Class(**config)`, then the tensors by name. None of it needs
either library.
"""

from sumi.nn.published.autoencoder import AutoencoderKL, VQModel
from sumi.nn.published.clip import (
    CLIPModel,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    ImageFeatures,
    TextFeatures,
)
from sumi.nn.published.config import PublishedConfig
from sumi.nn.published.dalle2_prior import DiffusionPriorNetwork
from sumi.nn.published.dvae import DVAEDecoder, DVAEEncoder
from sumi.nn.published.glide import GlideTextEncoder
from sumi.nn.published.unclip import PriorTransformer, StableUnCLIPImageNormalizer, UnCLIPTextProjModel
from sumi.nn.published.unet import UNet2DConditionModel, UNet2DModel

__all__ = [
    "AutoencoderKL",
    "CLIPModel",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPVisionModelWithProjection",
    "DVAEDecoder",
    "DVAEEncoder",
    "DiffusionPriorNetwork",
    "GlideTextEncoder",
    "ImageFeatures",
    "PriorTransformer",
    "PublishedConfig",
    "StableUnCLIPImageNormalizer",
    "TextFeatures",
    "UNet2DConditionModel",
    "UNet2DModel",
    "UnCLIPTextProjModel",
    "VQModel",
]
