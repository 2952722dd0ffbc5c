"""Drawing one token after another, and what is drawn so besides words: pictures' tokens, and embeddings as tokens."""

from sumi.autoregressive.arrangement import END, FIRST_NUMBER, SYMBOLS, Arrangement, Item, Spot, arranged
from sumi.autoregressive.embedding import EmbeddingTokens, writing
from sumi.autoregressive.principal import PrincipalAxes, principal_axes
from sumi.autoregressive.sampling import FAIR, Dice, TokenModel, draw, drawing

__all__ = [
    "END",
    "FAIR",
    "FIRST_NUMBER",
    "SYMBOLS",
    "Arrangement",
    "Dice",
    "EmbeddingTokens",
    "Item",
    "PrincipalAxes",
    "Spot",
    "TokenModel",
    "arranged",
    "draw",
    "drawing",
    "principal_axes",
    "writing",
]
