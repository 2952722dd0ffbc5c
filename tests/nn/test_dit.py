import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sumi.nn import Cond, DiT
from sumi.nn.dit import DiTBlock, JointBlock, grid_positions

CONFIG = {"in_channels": 3, "out_channels": 3, "patch": 2, "width": 16, "depth": 2, "heads": 2}


def woken(network: nn.Module) -> nn.Module:
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.1 * torch.randn(weight.shape, generator=rng))
    return network.eval()


def case(joint: bool = False) -> tuple[nn.Module, torch.Tensor, torch.Tensor, Cond]:
    rng = torch.Generator().manual_seed(1)
    cond = Cond(
        vector=torch.randn(2, 10, generator=rng),
        tokens=torch.randn(2, 5, 4, generator=rng),
        concat=torch.randn(2, 3, 8, 12, generator=rng),
    )
    network = woken(DiT(**CONFIG, concat_channels=3, vector_width=10, context_width=4, joint=joint))
    return network, torch.randn(2, 3, 8, 12, generator=rng), torch.tensor([0.2, 0.8]), cond


@pytest.mark.parametrize("joint", [False, True])
def test_dit_answer_depends_on_the_time_and_each_slot_of_the_condition(joint: bool) -> None:
    network, x, t, cond = case(joint)
    out = network(x, t, cond)
    assert out.shape == x.shape
    assert not torch.allclose(out, network(x, t.flip(0), cond))
    for name in ("vector", "tokens", "concat"):
        silent = Cond(**{**vars(cond), name: torch.zeros_like(getattr(cond, name))})
        assert not torch.allclose(out, network(x, t, silent)), name


@pytest.mark.parametrize("joint", [False, True])
def test_network_answer_for_an_example_does_not_depend_on_the_batch(joint: bool) -> None:
    network, x, t, cond = case(joint)
    alone = torch.cat([network(x[k : k + 1], t[k : k + 1], cond[k : k + 1]) for k in (0, 1)])
    torch.testing.assert_close(network(x, t, cond), alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
def test_dit_made_from_its_config_computes_the_same(joint: bool) -> None:
    network, x, t, cond = case(joint)
    again = DiT(**network.config).eval()  # type: ignore[arg-type]
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(again(x, t, cond), network(x, t, cond))


def test_dit_when_new_answers_zero_and_its_blocks_are_the_identity() -> None:
    assert DiT(**CONFIG)(torch.randn(1, 3, 8, 8), torch.rand(1), Cond()).abs().max() == 0
    x = torch.randn(2, 6, 16)
    assert torch.equal(DiTBlock(16, 2, 0)(x, torch.randn(2, 16), None), x)


def test_joint_block_updates_both_streams_with_separate_weights() -> None:
    x, c, embedding = torch.randn(2, 6, 16), torch.randn(2, 3, 16), torch.randn(2, 16)
    block = JointBlock(16, 2, last=False)
    assert all(torch.equal(new, old) for new, old in zip(block(x, c, embedding), (x, c), strict=True))
    woken(block)
    moved_x, moved_c = block(x, c, embedding)
    assert not torch.allclose(block(x, c.flip(2), embedding)[0], moved_x)  # the picture looks at the words,
    assert not torch.allclose(block(x.flip(2), c, embedding)[1], moved_c)  # and the words at the picture
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(block(x, c[:, order], embedding)[0], moved_x)  # whose order says nothing
    torch.testing.assert_close(block(x, c[:, order], embedding)[1], moved_c[:, order])


def test_joint_block_when_last_has_no_unused_weight() -> None:
    network, x, t, cond = case(joint=True)
    network(x, t, cond).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_dit_joint_without_tokens_raises() -> None:
    with pytest.raises(ValueError, match="joint needs a context_width"):
        DiT(**CONFIG, joint=True)
    network, x, t, cond = case(joint=True)
    with pytest.raises(ValueError, match=r"a joint DiT needs cond\.tokens"):
        network(x, t, Cond(vector=cond.vector, concat=cond.concat))


def test_dit_after_training_has_open_gates() -> None:
    torch.manual_seed(0)
    network = DiT(**CONFIG)
    x, t = torch.randn(4, 3, 4, 4), torch.rand(4)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _step in range(60):
        loss = F.mse_loss(network(x, t, Cond()), x.flip(3))  # each patch must hear of another one
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.3


def test_grid_positions_are_all_different_and_tell_rows_from_columns() -> None:
    places = grid_positions(6, 6, 16)
    apart = torch.cdist(places, places) + 10 * torch.eye(36)
    assert apart.min() > 0.1
    assert torch.equal(grid_positions(6, 3, 16).view(6, 3, 16), places.view(6, 6, 16)[:, :3])


def test_dit_with_a_width_that_cannot_be_split_raises() -> None:
    with pytest.raises(ValueError, match="divisible by 4 and by the 3 heads"):
        DiT(3, 3, 2, 16, 1, 3)
