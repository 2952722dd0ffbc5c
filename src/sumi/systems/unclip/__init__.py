"""unCLIP, the system of DALL-E 2: words -> z_t -> prior -> z_i -> decoder -> upsamplers -> picture.

Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation with CLIP Latents, arXiv 2204.06125.

    P(x | y) = P(x | z_i, y) P(z_i | y)                                                        (section 2)

A prior draws z_i for the caption (section 2.2): one denoises it and predicts it directly, the other generates it as
tokens. The decoder is conditioned on z_i and the caption (section 2.1), and two unguided upsamplers on the smaller
picture alone. `forward` is the whole on one screen. `system` trains a small unCLIP on pictures of one size; the sticker
model is another preset of the same objectives, and `assemble` puts either together.
"""

from sumi.systems.unclip.model import ASKED, SETTINGS, assemble, decoder_condition, parameterization

__all__ = ["ASKED", "SETTINGS", "assemble", "decoder_condition", "parameterization"]
