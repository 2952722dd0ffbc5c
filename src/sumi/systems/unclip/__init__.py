"""unCLIP, the system of DALL-E 2: words -> z_t -> prior -> z_i -> decoder -> upsamplers -> picture.

Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation with CLIP Latents, arXiv 2204.06125.

    P(x | y) = P(x | z_i, y) P(z_i | y)                                                        (section 2)

A prior imagines z_i for the caption (section 2.2): one denoises it, predicting it directly, the other writes it as
tokens. The decoder draws under z_i and the caption (section 2.1), and two upsamplers enlarge, unguided and told nothing
but the smaller picture. `system` trains all of it small; the sticker model is another run of the same lessons, and
`assemble` makes either ready to draw.
"""

from sumi.systems.unclip.model import ASKED, SETTINGS, assemble, decoder_condition, parameterization

__all__ = ["ASKED", "SETTINGS", "assemble", "decoder_condition", "parameterization"]
