"""Codecs: pixels to latents or to tokens, and back."""

from sumi.codecs.autoencoder import Autoencoder, autoencoder_loss
from sumi.codecs.codec import Codec, Pixels
from sumi.codecs.dvae import DVAE
from sumi.codecs.patch_pca import PatchPCA
from sumi.codecs.vqvae import VQVAE, perplexity

__all__ = ["DVAE", "VQVAE", "Autoencoder", "Codec", "PatchPCA", "Pixels", "autoencoder_loss", "perplexity"]
