"""Where the things of a picture go, by rules: from words and drawn outlines to places.

A learned planner (`sumi.systems.unclip.layout`) says where things usually stand; this room puts them where they belong
on what was drawn.
"""

from sumi.layout.placement import frame_spots, place_scene
from sumi.layout.reading import SceneReader
from sumi.layout.scene import Link, RelatedScene, SceneThing
from sumi.layout.silhouette import INK, Silhouette

__all__ = [
    "INK",
    "Link",
    "RelatedScene",
    "SceneReader",
    "SceneThing",
    "Silhouette",
    "frame_spots",
    "place_scene",
]
