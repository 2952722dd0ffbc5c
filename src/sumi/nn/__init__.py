"""Networks and their blocks; unaware of noise, prompts and files."""

from sumi.nn.attention import Attention, attend
from sumi.nn.cond import Cond
from sumi.nn.decoder import DecoderNetwork
from sumi.nn.prior import PriorNetwork
from sumi.nn.transformer import TextTransformer, Transformer
from sumi.nn.unet import UNet

__all__ = [
    "Attention",
    "Cond",
    "DecoderNetwork",
    "PriorNetwork",
    "TextTransformer",
    "Transformer",
    "UNet",
    "attend",
]
