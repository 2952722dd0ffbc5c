"""A module that is made again from the arguments it kept."""

from __future__ import annotations

import json

import pytest
from torch import nn

from sumi.nn import ConfigModule


class Layer(ConfigModule):
    def __init__(self, width: int, sizes: tuple[int, ...] = (1, 2), scale: float | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(width, len(sizes))
        self.config["scale"] = 1.0 if scale is None else scale


class Wrapper(Layer):
    def __init__(self, depth: int) -> None:
        super().__init__(width=depth)


def test_config_module_keeps_its_arguments_with_defaults_as_json_values() -> None:
    config = Layer(3, scale=2.0).config
    assert config == {"width": 3, "sizes": [1, 2], "scale": 2.0} == json.loads(json.dumps(config))


def test_config_module_whose_init_replaces_a_default_keeps_the_replacement() -> None:
    assert Layer(3).config["scale"] == 1.0 and Layer(**Layer(3).config).config == Layer(3).config


def test_config_module_of_a_subclass_keeps_the_subclass_arguments() -> None:
    assert Wrapper(4).config["depth"] == 4 and "width" not in Wrapper(4).config


def test_config_module_with_wrong_arguments_raises_its_init_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'breadth'"):
        Layer(breadth=3)  # type: ignore[call-arg]
