"""Drawing one token after another, and what is drawn so besides words: pictures' tokens, and embeddings as tokens."""

from sumi.autoregressive.embedding import EmbeddingTokens, written
from sumi.autoregressive.principal import PrincipalAxes, principal_axes
from sumi.autoregressive.sampling import FAIR, Dice, TokenModel, draw

__all__ = [
    "FAIR",
    "Dice",
    "EmbeddingTokens",
    "PrincipalAxes",
    "TokenModel",
    "draw",
    "principal_axes",
    "written",
]
