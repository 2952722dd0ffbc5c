"""Prompts and pictures as conditions: how a prompt is understood, the tokenizer, CLIP, frozen language models."""

from sumi.conditioning.clip import CLIP, sigmoid_loss, softmax_loss
from sumi.conditioning.interpretation import Interpretation, interpret
from sumi.conditioning.language import LanguageModel, LanguageUNet
from sumi.conditioning.lexicon import Lexicon
from sumi.conditioning.noised_clip import NoisedCLIP
from sumi.conditioning.tokenizer import WordTokenizer

__all__ = [
    "CLIP", "Interpretation", "LanguageModel", "LanguageUNet", "Lexicon", "NoisedCLIP", "WordTokenizer", "interpret",
    "sigmoid_loss", "softmax_loss",
]  # fmt: skip
