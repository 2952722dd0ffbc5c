"""Codecs turn a signal into something smaller and back: pixels into latents."""

from sumi.codecs.autoencoder import Autoencoder, autoencoder_loss
from sumi.codecs.codec import Codec, Pixels

__all__ = ["Autoencoder", "Codec", "Pixels", "autoencoder_loss"]
