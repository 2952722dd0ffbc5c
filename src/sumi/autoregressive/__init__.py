"""Drawing one token after another, and what is drawn so besides words: pictures' tokens, and embeddings as tokens."""

from sumi.autoregressive.embedding import EmbeddingTokens
from sumi.autoregressive.sampling import FAIR, Dice, TokenModel, draw

__all__ = ["FAIR", "Dice", "EmbeddingTokens", "TokenModel", "draw"]
