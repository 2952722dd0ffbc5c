"""Prompts and pictures as conditions: the tokenizer and CLIP."""

from sumi.conditioning.clip import CLIP, sigmoid_loss, softmax_loss
from sumi.conditioning.tokenizer import WordTokenizer

__all__ = ["CLIP", "WordTokenizer", "sigmoid_loss", "softmax_loss"]
