import pytest
import torch
import torch.nn.functional as F

from sumi.nn.attention import Attention, attend, attend_by_products, join_heads, split_heads


@pytest.mark.parametrize("causal", [False, True])
def test_two_products_equal_the_fused_kernel_forward_and_backward(causal: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    q, k, v, upstream = (torch.randn(2, 3, 7, 8, generator=rng, dtype=torch.float64) for _ in "qkvg")
    gradients = []
    for path in (attend_by_products, lambda *a: F.scaled_dot_product_attention(*a[:3], is_causal=a[3])):
        leaves = [part.clone().requires_grad_() for part in (q, k, v)]
        out = path(*leaves, causal)
        out.backward(upstream)
        gradients.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for fast, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, reference, atol=1e-5, rtol=1e-5)


def test_masked_positions_are_not_attended_to_on_either_path() -> None:
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 8, generator=rng) for _ in "qkv")
    mask = torch.tensor([[True, True, False, True, False], [True] * 5])[:, None, None]
    expected = torch.cat([attend(q[:1], k[:1, :, [0, 1, 3]], v[:1, :, [0, 1, 3]]), attend(q[1:], k[1:], v[1:])])
    for path in (attend, attend_by_products):
        torch.testing.assert_close(path(q, k, v, mask=mask), expected)


def test_bfloat16_on_a_cpu_stays_near_float32() -> None:
    rng = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 4, 16, 32, generator=rng) for _ in "qkv")
    fast = attend(*(part.bfloat16() for part in (q, k, v)))
    torch.testing.assert_close(fast.float(), attend(q, k, v), atol=0.03, rtol=0.05)


def test_heads_split_and_join_again() -> None:
    x = torch.arange(2 * 5 * 12.0).view(2, 5, 12)
    assert split_heads(x, 3).shape == (2, 3, 5, 4)
    torch.testing.assert_close(join_heads(split_heads(x, 3)), x)


def test_context_is_attended_to_and_its_order_does_not_matter() -> None:
    torch.manual_seed(0)
    layer = Attention(16, heads=2, context_width=8)
    x, context = torch.randn(2, 4, 16), torch.randn(2, 6, 8)
    seen = layer(x, context)
    assert (seen - layer(x)).abs().max() > 1e-3
    torch.testing.assert_close(seen, layer(x, context.flip(1)))


def test_causal_attention_never_sees_the_future() -> None:
    torch.manual_seed(0)
    layer = Attention(16, heads=2, causal=True)
    x = torch.randn(1, 6, 16)
    changed = x.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(layer(x)[:, :4], layer(changed)[:, :4])
    assert (layer(x)[:, 4:] - layer(changed)[:, 4:]).abs().max() > 1e-3
