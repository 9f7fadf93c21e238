#include "ops/cpu/attention_backward_plan.h"

namespace wgqa::cpu {

BackwardPlan planBackward(const AttentionPrefillBackward& p, Scratch& scratch) {
  const AttentionShape& shape = p.shape;
  require(shape.firstPositions.empty(), "attention's backward pass takes whole sequences");
  const auto kvHeads = static_cast<int>(p.k.shape[1]);
  BackwardPlan plan;
  plan.maxKeys = maxLength(shape.keys);
  plan.chunks = backwardChunks(shape, kvHeads, scratch, SharedScratch::first);
  for (const QueryChunk& chunk : plan.chunks.chunks) {
    plan.maxGroup = std::max(plan.maxGroup, chunk.group.count);
  }
  const auto partials = static_cast<std::size_t>(plan.chunks.partialRows * 2 * p.k.shape[2]);
  plan.gradKeyPartials = scratch.shared<float>(SharedScratch::fourth, partials);
  if (!shape.bias.given()) return plan;
  const std::int64_t maxQueries = maxLength(shape.queries);
  plan.buckets =
      BucketTable(shape.bias, std::max(plan.maxKeys, maxQueries), scratch, SharedScratch::second);
  plan.bias = DistanceBias(shape.bias, plan.buckets, plan.maxKeys, maxQueries, scratch,
                           SharedScratch::third);
  const std::size_t perChunk =
      static_cast<std::size_t>(plan.maxGroup) * static_cast<std::size_t>(shape.bias.table.shape[0]);
  plan.gradBiasPartials =
      scratch.shared<double>(SharedScratch::fifth, plan.chunks.chunks.size() * perChunk);
  return plan;
}

void addBiasTable(const AttentionPrefillBackward& p, const BackwardPlan& plan) {
  const std::int64_t buckets = p.gradBiasTable.shape[0];
  const std::int64_t heads = p.gradBiasTable.shape[1];
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t bucket = 0; bucket < buckets; ++bucket) {
      double sum = 0.0;
      const double* partials = plan.gradBiasPartials + bucket;
      for (const QueryChunk& chunk : plan.chunks.chunks) {
        const std::int64_t member = head - chunk.group.first;
        if (member >= 0 && member < chunk.group.count) sum += partials[member * buckets];
        partials += plan.maxGroup * buckets;
      }
      p.gradBiasTable.as<float>()[bucket * heads + head] += static_cast<float>(sum);
    }
  }
}

}  // namespace wgqa::cpu
