"""Networks and their blocks. They take tensors and a `Cond`, and know nothing of schedules, prompts or files."""

from sumi.nn.ar_prior import ARPriorNetwork
from sumi.nn.attention import Attention, attend
from sumi.nn.attention_masks import ATTENTION_PATTERNS, attention_mask, dalle_patterns
from sumi.nn.causal import CausalTransformer, Past
from sumi.nn.classifier import Classifier
from sumi.nn.cond import Cond, drop_condition
from sumi.nn.config_module import ConfigModule
from sumi.nn.convnext import ConvNeXtDecoder
from sumi.nn.decoder import DecoderNetwork
from sumi.nn.dense import DenseDecoder, DenseDraft
from sumi.nn.dit import DiT
from sumi.nn.gan import GAN
from sumi.nn.layout_planner import EncodedCaption, LayoutPlannerNetwork
from sumi.nn.lora import LoRA, LoRALayer, add_embeddings
from sumi.nn.mlp import MLP
from sumi.nn.old_names import old_tensor_names, rename_tensors
from sumi.nn.prior import DensePrior, EmbeddingDenoiser, PriorNetwork
from sumi.nn.super_resolution import SuperResolutionNetwork
from sumi.nn.text_unet import TextUNet
from sumi.nn.token_transformer import TokenTransformer
from sumi.nn.transformer import TextTransformer, Transformer
from sumi.nn.unet import UNet

__all__ = [
    "ATTENTION_PATTERNS",
    "GAN",
    "MLP",
    "ARPriorNetwork",
    "Attention",
    "CausalTransformer",
    "Classifier",
    "Cond",
    "ConfigModule",
    "ConvNeXtDecoder",
    "DecoderNetwork",
    "DenseDecoder",
    "DenseDraft",
    "DensePrior",
    "DiT",
    "EmbeddingDenoiser",
    "EncodedCaption",
    "LayoutPlannerNetwork",
    "LoRA",
    "LoRALayer",
    "Past",
    "PriorNetwork",
    "SuperResolutionNetwork",
    "TextTransformer",
    "TextUNet",
    "TokenTransformer",
    "Transformer",
    "UNet",
    "add_embeddings",
    "attend",
    "attention_mask",
    "dalle_patterns",
    "drop_condition",
    "old_tensor_names",
    "rename_tensors",
]
