"""The attention problems of bench_cuda_attention.cc in PyTorch, on the same device: what it is compared with.

Prefill with T5's relative bias is measured on each path that PyTorch has for it: scaled dot-product attention with
the bias as an additive mask, and FlexAttention with the bias as a score modification, compiled. Times are medians of CUDA
events; operations are counted as in the C++ program (2 products forward, 5 backward).

    python3 bench/native/cuda/pytorch_attention.py [--json FILE] [--repetitions N]
"""

import torch
import torch.nn.functional as functional
from pytorch_timing import main, milliseconds

SEQUENCES, TOKENS, HEADS, HEAD_DIM = 8, 2048, 32, 64
BUCKETS, MAX_DISTANCE = 32, 128


def relative_buckets(tokens: int) -> torch.Tensor:
    """[tokens, tokens] bidirectional buckets (Raffel et al. 2020, section 2.1)."""
    positions = torch.arange(tokens, device="cuda")
    relative = positions[None, :] - positions[:, None]
    half = BUCKETS // 2
    base = (relative > 0).long() * half
    distance = relative.abs()
    exact = half // 2
    far = exact + (
        torch.log(distance.float().clamp(min=1) / exact)
        / torch.log(torch.tensor(MAX_DISTANCE / exact))
        * (half - exact)
    ).long()
    return base + torch.where(distance < exact, distance, far.clamp(max=half - 1))


def paths(bias_table: torch.Tensor, buckets: torch.Tensor):
    """Name -> function of q, k, v [sequences, heads, tokens, head_dim] with one K/V head per query head."""

    def masked(q, k, v):
        bias = bias_table[:, buckets].to(q.dtype)[None]
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)

    found = {"SDPA, bias as mask": masked}
    try:
        from torch.nn.attention.flex_attention import flex_attention
    except ImportError:
        return found
    compiled = torch.compile(flex_attention, dynamic=False)

    def with_bias(score, batch, head, query, key):
        return score + bias_table[head, buckets[query, key]]

    found["FlexAttention, compiled"] = lambda q, k, v: compiled(q, k, v, score_mod=with_bias, scale=1.0)
    return found


def measure(repetitions: int) -> list[dict]:
    product = 2.0 * SEQUENCES * TOKENS * TOKENS * HEADS * HEAD_DIM
    shape = (SEQUENCES, HEADS, TOKENS, HEAD_DIM)
    q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    bias_table = torch.randn(HEADS, BUCKETS, device="cuda", requires_grad=True)
    buckets = relative_buckets(TOKENS)
    results = []
    for name, attend in paths(bias_table, buckets).items():
        try:
            out = attend(q, k, v)
            grad = torch.randn_like(out)
            forward = milliseconds(lambda: attend(q, k, v), repetitions)
            backward = milliseconds(lambda: torch.autograd.grad(out, (q, k, v, bias_table), grad, retain_graph=True), repetitions)
        except RuntimeError as error:  # out of memory, or a path that this version lacks
            print(f"{name}: impossible: {str(error).splitlines()[0]}")
            results.append({"name": name, "impossible": str(error).splitlines()[0]})
            continue
        for what, time, products in (("prefill", forward, 2), ("backward", backward, 5)):
            rate = products * product / time / 1e6
            print(f"{what} MHA bfloat16, {SEQUENCES} x {TOKENS} tokens, {name}: {rate:10.1f} GFLOP/s")
            results.append({"name": f"{what}, {name}", "rate": rate, "unit": "GFLOP/s"})
    return results


if __name__ == "__main__":
    main(__doc__, measure, repetitions=15)
