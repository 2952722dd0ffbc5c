"""Codecs turn a signal into something smaller and back: pixels into latents."""

from sumi.codecs.autoencoder import Autoencoder, autoencoder_loss

__all__ = ["Autoencoder", "autoencoder_loss"]
