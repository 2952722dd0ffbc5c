"""Prompts and pictures as conditions: the tokenizer, CLIP, and frozen language models."""

from sumi.conditioning.clip import CLIP, sigmoid_loss, softmax_loss
from sumi.conditioning.language import LanguageModel, LanguageUNet
from sumi.conditioning.noised_clip import NoisedCLIP
from sumi.conditioning.tokenizer import WordTokenizer

__all__ = ["CLIP", "LanguageModel", "LanguageUNet", "NoisedCLIP", "WordTokenizer", "sigmoid_loss", "softmax_loss"]
