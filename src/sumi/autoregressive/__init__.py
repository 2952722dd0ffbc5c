"""Autoregressive sampling: token by token, embeddings as tokens, and scene layouts as tokens."""

from sumi.autoregressive.embedding_tokens import EmbeddingTokens, sample_embedding
from sumi.autoregressive.pca import PrincipalAxes, principal_axes
from sumi.autoregressive.sampling import DEFAULT_SAMPLING, TokenModel, TokenSampling, sample_tokens, stream_tokens
from sumi.autoregressive.scene_layout import (
    END,
    FIRST_NUMBER,
    SYMBOLS,
    LayoutBox,
    LayoutItem,
    SceneLayout,
    sample_layouts,
)

__all__ = [
    "DEFAULT_SAMPLING",
    "END",
    "FIRST_NUMBER",
    "SYMBOLS",
    "EmbeddingTokens",
    "LayoutBox",
    "LayoutItem",
    "PrincipalAxes",
    "SceneLayout",
    "TokenModel",
    "TokenSampling",
    "principal_axes",
    "sample_embedding",
    "sample_layouts",
    "sample_tokens",
    "stream_tokens",
]
