"""Weights that an earlier version of Sumi wrote load into the networks of this one."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import nn

from sumi.nn import DiT, UNet, old_tensor_names, rename_tensors
from sumi.nn.old_names import OLD_ATTRIBUTES

UNET = {"in_channels": 3, "out_channels": 3, "channels": [16], "blocks": [1], "attention": [False], "middle": 1}


def test_old_tensor_names_of_a_nested_unet_maps_the_names_of_version_0_1() -> None:
    names = old_tensor_names(nn.ModuleDict({"base": UNet(**UNET)}))
    assert names["base.mouth.weight"] == "base.conv_in.weight"
    assert names["base.head.2.bias"] == "base.conv_out.2.bias"
    assert not any("down" in name for name in names), "names that did not change are left out"


def test_old_tensor_names_of_a_joint_dit_maps_every_attribute_on_the_path() -> None:
    names = old_tensor_names(DiT(3, 3, patch=2, width=8, depth=2, heads=2, context_width=5, joint=True))
    assert names["blocks.0.picture.qkv.weight"] == "blocks.0.image.qkv.weight"
    assert names["words.bias"] == "text_proj.bias"


def test_rename_tensors_with_old_or_current_names_loads_the_same_network() -> None:
    torch.manual_seed(0)
    network, fresh = UNet(**UNET), UNet(**UNET)
    current = network.state_dict()
    old = {
        {name: was for was, name in old_tensor_names(network).items()}.get(name, name): current[name]
        for name in current
    }
    assert old.keys() != current.keys()
    for tensors in (old, current):
        fresh.load_state_dict(rename_tensors(fresh, tensors))
        assert all(torch.equal(value, current[name]) for name, value in fresh.state_dict().items())


@pytest.mark.parametrize("class_name", sorted(OLD_ATTRIBUTES))
def test_old_attributes_of_every_class_are_gone_from_its_module(class_name: str) -> None:
    rooms = ("sumi.nn.gan", "sumi.nn.dense", "sumi.nn.dit", "sumi.nn", "sumi.codecs")
    found = [getattr(importlib.import_module(room), class_name, None) for room in rooms]
    assert any(isinstance(made, type) and issubclass(made, nn.Module) for made in found)
    old, current = set(OLD_ATTRIBUTES[class_name].values()), set(OLD_ATTRIBUTES[class_name])
    assert not old & current, "an old name that is also a current one could not be told apart"
