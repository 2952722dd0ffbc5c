"""Codecs turn a signal into something smaller and back: pixels into latents, or into tokens."""

from sumi.codecs.autoencoder import Autoencoder, autoencoder_loss
from sumi.codecs.codec import Codec, Pixels
from sumi.codecs.dvae import DVAE
from sumi.codecs.vqvae import VQVAE, perplexity

__all__ = ["DVAE", "VQVAE", "Autoencoder", "Codec", "Pixels", "autoencoder_loss", "perplexity"]
