// Attention and KV-cache operations of the CPU backend: Highway kernels with run-time dispatch.
// Results are the same for any number of threads.
#pragma once

#include "ops/cpu/scratch.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// Whole-sequence attention with an online softmax over key tiles ("FlashAttention", Dao et al.
/// 2022).
void attentionPrefill(const AttentionPrefill& p, Scratch& scratch);

/// Its gradients; probabilities are recomputed tile by tile from the saved log-sum-exp.
void attentionPrefillBackward(const AttentionPrefillBackward& p, Scratch& scratch);

/// One query per sequence over the paged cache. The result of a sequence does not depend on what
/// else is in the batch.
void attentionDecode(const AttentionDecode& p, Scratch& scratch);

/// Writes K/V rows into cache slots.
void kvAppend(const KvAppend& p, Scratch& scratch);

}  // namespace wgqa::cpu
