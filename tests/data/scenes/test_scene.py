"""A scene is a value that survives being written down."""

from __future__ import annotations

from sumi.data.generator import Scenes
from sumi.data.scene import Scene


def test_scene_of_every_kind_survives_json(scenes: Scenes) -> None:
    for index in range(300):
        scene = scenes.scene(index)
        assert Scene.from_json(scene.to_json()) == scene
