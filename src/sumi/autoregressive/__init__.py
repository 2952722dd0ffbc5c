"""Drawing one token after another, and what is drawn so besides words: pictures' tokens, and embeddings as tokens."""

from sumi.autoregressive.embedding_tokens import EmbeddingTokens, writing
from sumi.autoregressive.pca import PrincipalAxes, principal_axes
from sumi.autoregressive.sampling import FAIR, Dice, TokenModel, draw, drawing
from sumi.autoregressive.scene_layout import END, FIRST_NUMBER, SYMBOLS, Arrangement, Item, Spot, arranged

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
