"""Prompts and pictures as conditions: interpretation of prompts, the tokenizer, CLIP, frozen language models.

`phrase_splitter`, `prompt_parser` and `interpretation` turn any prompt into words that a model was taught, by its
`lexicon`, the `english` dictionary and `spelling`; `prompt_suggestions` helps where that fails.
`balance` adds a skin tone and a gender to people without.
"""

from sumi.conditioning.balance import balance_people
from sumi.conditioning.clip import CLIP, sigmoid_loss, softmax_loss
from sumi.conditioning.image_classifier import ImageClassifier
from sumi.conditioning.interpretation import Interpretation, interpret, parse_prompt
from sumi.conditioning.language import LanguageModel, LanguageUNet
from sumi.conditioning.lexicon import Lexicon
from sumi.conditioning.noised_clip import NoisedCLIP
from sumi.conditioning.prompt_parser import ParsedPrompt, ThingPhrase, write_caption
from sumi.conditioning.tokenizer import WordTokenizer

__all__ = [
    "CLIP",
    "ImageClassifier",
    "Interpretation",
    "LanguageModel",
    "LanguageUNet",
    "Lexicon",
    "NoisedCLIP",
    "ParsedPrompt",
    "ThingPhrase",
    "WordTokenizer",
    "balance_people",
    "interpret",
    "parse_prompt",
    "sigmoid_loss",
    "softmax_loss",
    "write_caption",
]
