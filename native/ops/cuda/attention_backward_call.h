// What a backward pass of attention on tensor cores is, whichever kernels multiply: statistics of
// the queries before, the gradient of the bias from its partial sums after.
#pragma once

#include "ops/cuda/kernels/attention_tensor_backward.h"
#include "ops/cuda/session.h"
#include "ops/ops.h"

namespace wgqa::cuda {

class BackwardCall {
 public:
  BackwardCall(const AttentionPrefillBackward& p, Session& session);

 protected:
  /// Computes the statistics, and rounds a float32 gradOut. What is left to fill in are the tiles.
  /// `partials`: sums of each bucket of each head that the kernels will write.
  AttentionTensorBackwardArguments prepare(std::int64_t partials);
  void reduceBias(const float* biasPartials, std::int64_t partials);

  /// Sums by distance that each warp keeps for the bias's gradient.
  std::int64_t distances() const { return p_.gradBiasTable.given() ? biasFloats(shape_.bias) : 0; }

  const AttentionPrefillBackward& p_;
  Session& session_;
  std::int64_t heads_;
  std::int64_t kvHeads_;
  AttentionShapeArguments shape_;
  int dropout_;  // 1 if there is some, in tables of kernels

 private:
  std::int64_t statisticsRows() const;
  void computeStatistics(QueryStatistics* statistics, BFloat16Element* rounded);
};

}  // namespace wgqa::cuda
