"""CLIP as OpenAI and LAION published it: a text tower and an image tower, in transformers' layout.

    text:  causal transformer over at most 77 tokens, read at the end of the text
    image: transformer over patches and one class token, read at the class token

Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020. Parameter
names are those of transformers' `CLIPModel`, its misspelt `pre_layrnorm` included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.attention import attend, join_heads, split_heads
from sumi.nn.published.config import PublishedConfig

Activation = Literal["quick_gelu", "gelu"]

# Keys of training and of text generation, which transformers writes into every configuration.
_WITHOUT_EFFECT = frozenset(
    """add_cross_attention architectures attention_dropout bad_words_ids begin_suppress_tokens bos_token_id
    chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample dropout
    dtype early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty finetuning_task
    forced_bos_token_id forced_eos_token_id gradient_checkpointing id2label initializer_factor initializer_range
    is_decoder is_encoder_decoder label2id length_penalty logit_scale_init_value max_length min_length model_type
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_attentions output_hidden_states
    output_scores pad_token_id prefix problem_type pruned_heads remove_invalid_values repetition_penalty return_dict
    return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature tf_legacy_loss
    tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p torch_dtype torchscript transformers_version
    typical_p use_bfloat16""".split()
)

# Some versions of transformers leave out of a nested configuration what equals these defaults of theirs.
_NESTED_TEXT: dict[str, Any] = {
    "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
    "num_attention_heads": 8, "hidden_act": "quick_gelu",
}  # fmt: skip
_NESTED_VISION: dict[str, Any] = {
    "image_size": 224, "patch_size": 32, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "hidden_act": "quick_gelu",
}  # fmt: skip


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), the activation of OpenAI's CLIP."""
    return x * torch.sigmoid(1.702 * x)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick_gelu": quick_gelu, "gelu": F.gelu}


@dataclass(frozen=True, kw_only=True)
class CLIPTowerConfig(PublishedConfig):
    """What both towers are made of."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    hidden_act: Activation
    layer_norm_eps: float = 1e-5
    projection_dim: int = 512
    unused: ClassVar[frozenset[str]] = _WITHOUT_EFFECT


@dataclass(frozen=True, kw_only=True)
class CLIPTextConfig(CLIPTowerConfig):
    """The text tower. `eos_token_id` 2 is an old mistake in the format and means the largest id."""

    vocab_size: int
    max_position_embeddings: int = 77
    eos_token_id: int = 49407


@dataclass(frozen=True, kw_only=True)
class CLIPVisionConfig(CLIPTowerConfig):
    """The image tower."""

    image_size: int
    patch_size: int
    num_channels: int = 3


@dataclass(frozen=True, kw_only=True)
class CLIPConfig(PublishedConfig):
    """Both towers and the width of the space that they share."""

    projection_dim: int
    text_config: dict[str, Any]
    vision_config: dict[str, Any]
    unused: ClassVar[frozenset[str]] = _WITHOUT_EFFECT | {"text_config_dict", "vision_config_dict"}


class CLIPAttention(nn.Module):
    """Self-attention, causal in the text tower."""

    def __init__(self, config: CLIPTowerConfig, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal, width = config.num_attention_heads, causal, config.hidden_size
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, L, width)."""
        q, k, v = (split_heads(project(x), self.heads) for project in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(join_heads(attend(q, k, v, self.causal)))  # type: ignore[no-any-return]


class CLIPMLP(nn.Module):
    """Two layers around the activation."""

    def __init__(self, config: CLIPTowerConfig) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, L, width)."""
        return self.fc2(self.activation(self.fc1(x)))  # type: ignore[no-any-return]


class CLIPEncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: CLIPTowerConfig, causal: bool) -> None:
        super().__init__()
        self.self_attn, self.mlp = CLIPAttention(config, causal), CLIPMLP(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, L, width)."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))  # type: ignore[no-any-return]


class CLIPEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: CLIPTowerConfig, causal: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CLIPEncoderLayer(config, causal) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, L, width) to what goes into each layer and, last, what comes out of the last one."""
        hidden_states = [x]
        for layer in self.layers:
            hidden_states.append(layer(hidden_states[-1]))
        return tuple(hidden_states)


class CLIPTextEmbeddings(nn.Module):
    """Token embeddings plus position embeddings."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) to (B, L, width)."""
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]  # type: ignore[no-any-return]


class CLIPVisionEmbeddings(nn.Module):
    """A class token before the patches in raster order, plus position embeddings."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.class_embedding = nn.Parameter(0.02 * torch.randn(width))
        self.patch_embedding = nn.Conv2d(config.num_channels, width, patch, stride=patch, bias=False)
        self.position_embedding = nn.Embedding((config.image_size // patch) ** 2 + 1, width)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, num_channels, image_size, image_size) to (B, 1 + patches, width)."""
        patches = self.patch_embedding(pixels.to(self.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(pixels), 1, -1), patches], dim=1)
        return tokens + self.position_embedding.weight


class TextFeatures(NamedTuple):
    """What the text tower says.

    tokens: (B, L, width), the last layer's output after the final norm.
    pooled: (B, width), the row of `tokens` at the end of the text; (B, projection_dim) where the tower projects it.
    hidden_states: (B, L, width) for each layer's input and the last layer's output, before the final norm.
    """

    tokens: Tensor
    pooled: Tensor
    hidden_states: tuple[Tensor, ...]


class ImageFeatures(NamedTuple):
    """What the image tower says.

    tokens: (B, 1 + patches, width), the last layer's output.
    pooled: (B, width), the normed class token; (B, projection_dim) where the tower projects it.
    hidden_states: (B, 1 + patches, width) for each layer's input and the last layer's output.
    """

    tokens: Tensor
    pooled: Tensor
    hidden_states: tuple[Tensor, ...]


class CLIPTextTransformer(nn.Module):
    """The text tower, without a projection."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.end_of_text = config.eos_token_id
        self.embeddings, self.encoder = CLIPTextEmbeddings(config), CLIPEncoder(config, causal=True)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor) -> TextFeatures:
        """Ids (B, L) to features; the text ends at the first end-of-text token."""
        hidden_states = self.encoder(self.embeddings(ids))
        tokens = self.final_layer_norm(hidden_states[-1])
        end = ids.argmax(dim=1) if self.end_of_text == 2 else (ids == self.end_of_text).int().argmax(dim=1)
        return TextFeatures(tokens, tokens[torch.arange(len(ids), device=ids.device), end], hidden_states)


class CLIPVisionTransformer(nn.Module):
    """The image tower, without a projection."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.embeddings, self.encoder = CLIPVisionEmbeddings(config), CLIPEncoder(config, causal=False)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> ImageFeatures:
        """Normalised pictures (B, num_channels, image_size, image_size) to features."""
        hidden_states = self.encoder(self.pre_layrnorm(self.embeddings(pixels)))
        tokens = hidden_states[-1]
        return ImageFeatures(tokens, self.post_layernorm(tokens[:, 0]), hidden_states)


class CLIPTextModel(nn.Module):
    """The text tower alone, as Stable Diffusion uses it. Keyword arguments are the keys of its `config.json`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, CLIPTextConfig.read(config)
        self.text_model = CLIPTextTransformer(read)

    def forward(self, ids: Tensor) -> TextFeatures:
        """Ids (B, L)."""
        return self.text_model(ids)  # type: ignore[no-any-return]


class CLIPTextModelWithProjection(nn.Module):
    """The text tower and its projection into the shared space. Keyword arguments are the keys of `config.json`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, CLIPTextConfig.read(config)
        self.text_model = CLIPTextTransformer(read)
        self.text_projection = nn.Linear(read.hidden_size, read.projection_dim, bias=False)

    def forward(self, ids: Tensor) -> TextFeatures:
        """Ids (B, L); `pooled` is the text embedding, not normalised."""
        features = self.text_model(ids)
        return features._replace(pooled=self.text_projection(features.pooled))  # type: ignore[no-any-return]


class CLIPVisionModelWithProjection(nn.Module):
    """The image tower and its projection into the shared space. Keyword arguments are the keys of `config.json`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, CLIPVisionConfig.read(config)
        self.vision_model = CLIPVisionTransformer(read)
        self.visual_projection = nn.Linear(read.hidden_size, read.projection_dim, bias=False)

    def forward(self, pixels: Tensor) -> ImageFeatures:
        """Pictures (B, num_channels, image_size, image_size); `pooled` is the image embedding, not normalised."""
        features = self.vision_model(pixels)
        return features._replace(pooled=self.visual_projection(features.pooled))  # type: ignore[no-any-return]


class CLIPModel(nn.Module):
    """Both towers. Keyword arguments are the keys of its `config.json`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, CLIPConfig.read(config)
        text = CLIPTextConfig.read(_NESTED_TEXT | read.text_config)
        vision = CLIPVisionConfig.read(_NESTED_VISION | read.vision_config)
        self.text_model, self.vision_model = CLIPTextTransformer(text), CLIPVisionTransformer(vision)
        self.visual_projection = nn.Linear(vision.hidden_size, read.projection_dim, bias=False)
        self.text_projection = nn.Linear(text.hidden_size, read.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def encode_text(self, ids: Tensor) -> Tensor:
        """Ids (B, L) to unit vectors (B, projection_dim)."""
        return F.normalize(self.text_projection(self.text_model(ids).pooled), dim=-1)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pictures (B, num_channels, image_size, image_size) to unit vectors (B, projection_dim)."""
        return F.normalize(self.visual_projection(self.vision_model(pixels).pooled), dim=-1)

    def logits(self, text_embed: Tensor, image_embed: Tensor) -> Tensor:
        """exp(logit_scale) text_embed image_embed^T, (T, I)."""
        return self.logit_scale.exp() * text_embed @ image_embed.T
