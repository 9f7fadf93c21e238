"""The training step of bench_cuda_model.cc in PyTorch, on the same device: Hugging Face's T5 with T5-base's shape, random
weights, compiled, bfloat16 by autocast, float32 master weights, fused AdamW, dropout 0.1.

Operations are counted as in the C++ program (training_problem.cc): the dense products of every weight, forward and backward.

    python3 bench/native/cuda/pytorch_t5.py [--json FILE] [--repetitions N]
"""

import torch
from pytorch_timing import main, milliseconds
from transformers import T5Config, T5ForConditionalGeneration

SEQUENCES, SOURCE_TOKENS, TARGET_TOKENS = 64, 512, 128
LAYERS, HEADS, D_MODEL, D_KV, D_FF, VOCABULARY = 12, 12, 768, 64, 3072, 32128


def operations_of_step() -> float:
    """A product forward and two backward, 2 operations per multiplication."""
    source, target = SEQUENCES * SOURCE_TOKENS, SEQUENCES * TARGET_TOKENS
    projection, feed_forward = D_MODEL * HEADS * D_KV, 2 * D_MODEL * D_FF
    encoder = source * LAYERS * (4 * projection + feed_forward)
    decoder = target * LAYERS * (6 * projection + feed_forward) + source * LAYERS * 2 * projection
    return 6.0 * (encoder + decoder + target * D_MODEL * VOCABULARY)


def training_step():
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=D_MODEL,
        d_kv=D_KV,
        d_ff=D_FF,
        num_layers=LAYERS,
        num_heads=HEADS,
        dropout_rate=0.1,
        feed_forward_proj="relu",
        use_cache=False,
    )
    model = T5ForConditionalGeneration(config).cuda().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    compiled = torch.compile(model, dynamic=False)
    source = torch.randint(2, VOCABULARY, (SEQUENCES, SOURCE_TOKENS), device="cuda")
    labels = torch.randint(2, VOCABULARY, (SEQUENCES, TARGET_TOKENS), device="cuda")

    def step():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = compiled(input_ids=source, labels=labels).loss
        loss.backward()
        optimiser.step()

    return step


def measure(repetitions: int) -> list[dict]:
    tokens = SEQUENCES * (SOURCE_TOKENS + TARGET_TOKENS)
    name = f"T5-base, training in bfloat16, {tokens} tokens, PyTorch compiled"
    try:
        time = milliseconds(training_step(), repetitions)
    except torch.OutOfMemoryError as error:
        print(f"{name}: impossible: {str(error).splitlines()[0]}")
        return [{"name": name, "impossible": str(error).splitlines()[0]}]
    results = [
        {"name": name, "rate": operations_of_step() / time / 1e6, "unit": "GFLOP/s"},
        {"name": name, "rate": tokens / time * 1e3, "unit": "tokens/s"},
    ]
    for result in results:
        print(f"{name}: {result['rate']:12.1f} {result['unit']}")
    return results


if __name__ == "__main__":
    main(__doc__, measure, repetitions=5)
