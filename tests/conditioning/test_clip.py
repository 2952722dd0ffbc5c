import math

import pytest
import torch

from sumi.conditioning import CLIP, sigmoid_loss, softmax_loss
from sumi.conditioning.clip import ResNetTower

IMAGE = {
    "in_channels": 4, "size_px": 16, "patch": 2, "channels": [16, 32], "blocks": [1, 1], "width": 32, "depth": 1,
    "heads": 2,
}  # fmt: skip
TEXT = {"vocabulary_size": 30, "context": 5, "width": 32, "depth": 1, "heads": 2}


def tiny() -> CLIP:
    torch.manual_seed(0)
    return CLIP(8, IMAGE, TEXT).eval()


def test_clip_embeddings_are_unit_vectors() -> None:
    clip = tiny()
    z_i = clip.encode_image(torch.rand(3, 4, 16, 16))
    z_t, features = clip.encode_text(torch.tensor([[4, 5, 1, 0, 0], [0, 0, 0, 0, 0], [9, 1, 0, 0, 0]]))
    for z in (z_i, z_t):
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(3))
    assert features.shape == (3, 5, 32)


def test_clip_text_embedding_ignores_padding() -> None:
    clip = tiny()
    short, _ = clip.encode_text(torch.tensor([[4, 5, 1]]))
    padded, _ = clip.encode_text(torch.tensor([[4, 5, 1, 0, 0]]))
    torch.testing.assert_close(short, padded)


def test_clip_losses_equal_their_closed_forms() -> None:
    same = torch.zeros(4, 4)
    assert math.isclose(float(softmax_loss(same)), math.log(4), rel_tol=1e-5)
    assert math.isclose(float(sigmoid_loss(same)), 4 * math.log(2), rel_tol=1e-5)
    sure = 100 * (2 * torch.eye(4) - 1)
    assert float(softmax_loss(sure)) < 1e-6 and float(sigmoid_loss(sure)) < 1e-6


def test_clip_learns_pairs_with_either_loss() -> None:
    for loss in (softmax_loss, sigmoid_loss):
        clip, rng = tiny().train(), torch.Generator().manual_seed(0)
        x, ids = torch.rand(6, 4, 16, 16, generator=rng) * 2 - 1, torch.arange(2, 8)[:, None].repeat(1, 2)
        optimiser = torch.optim.AdamW(clip.parameters(), lr=3e-3)
        for _ in range(100):
            value = loss(clip.logits(clip.encode_text(ids)[0], clip.encode_image(x)))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        matched = clip.logits(clip.encode_text(ids)[0], clip.encode_image(x)).argmax(dim=1)
        assert (matched == torch.arange(6)).float().mean() >= 0.8, loss.__name__


@pytest.mark.parametrize(("learned", "used"), [(5.0, 5.0), (20.0, 20.0), (99.0, 99.0), (1000.0, 100.0)])
def test_clip_logit_scale_is_at_most_a_hundred(learned: float, used: float) -> None:
    """Radford et al. 2021, section 2.5: clipped to keep logits from being scaled by more than 100."""
    clip = tiny()
    with torch.no_grad():
        clip.log_scale.fill_(math.log(learned))
    one, other = torch.eye(8)[:2], torch.eye(8)[:3]
    torch.testing.assert_close(clip.logits(one, other), used * torch.eye(8)[:2, :3] + clip.bias)


def test_resnet_tower_is_chosen_by_its_configuration_and_made_again_from_it() -> None:
    image = {"in_channels": 4, "size_px": 16, "patch": 2, "channels": [8, 12], "blocks": [1, 2], "width": 10}
    clip = CLIP(6, image, TEXT).eval()
    assert isinstance(clip.image, ResNetTower)
    again = CLIP(**clip.config).eval()
    again.load_state_dict(clip.state_dict())
    x = torch.rand(3, 4, 16, 16) * 2 - 1
    torch.testing.assert_close(again.encode_image(x), clip.encode_image(x))
    assert clip.encode_image(x).shape == (3, 6)


def test_resnet_tower_in_evaluation_sees_each_picture_alone() -> None:
    tower = ResNetTower(4, 16, 2, [8, 12], [1, 1], 10)
    x = torch.rand(5, 4, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for _ in range(3):
        tower(x)  # the batch norms take in some statistics
    tower.eval()
    torch.testing.assert_close(tower(x)[1:2], tower(x[1:2]), atol=1e-5, rtol=1e-4)
