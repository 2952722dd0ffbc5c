from __future__ import annotations

import torch
from judge_toys import picture, some_scenes, tiny_judge

from sumi.evaluation.probe import Probe, cross_validate, probe_features


def test_probe_learns_what_the_judge_was_not_taught_and_is_the_same_again() -> None:
    scenes = [scene for scene in some_scenes(120, 1) if len(scene.things) == 1]
    labels = [scene.things[0].colour or "" for scene in scenes]
    features = probe_features(tiny_judge(), torch.stack([picture(scene) for scene in scenes]))
    probe = Probe.fit(features, labels)
    assert probe.predict(features) == labels and torch.equal(probe.weight, Probe.fit(features, labels).weight)
    assert probe.classes == tuple(sorted(set(labels))) and probe.predict(features[:0]) == []


def test_cross_validation_never_teaches_the_group_that_it_asks() -> None:
    """Each group has a label of its own, so a probe that was not taught it cannot know it."""
    features = torch.eye(4).repeat_interleave(3, dim=0)
    groups = [k // 3 for k in range(12)]
    found = cross_validate(features, [f"{group}" for group in groups], groups)
    assert len(found) == 12 and all(one != f"{group}" for one, group in zip(found, groups, strict=True))
