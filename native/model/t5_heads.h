// Exact changes of a multi-head model that prepare its heads for merging: other neighbours, and a
// common orientation. The model computes what it did before.
#pragma once

#include "merge/head_gram.h"
#include "merge/head_groups.h"
#include "model/parameter_rewrite.h"
#include "model/t5_calibration.h"

namespace wgqa {

struct HeadPreparation {
  HeadGrouping grouping = HeadGrouping::neighbouring;
  HeadAlignment alignment = HeadAlignment::none;
  /// Heads are compared by what they make of its inputs, or without it by their weights alone.
  const T5Calibration* calibration = nullptr;

  bool isNeeded() const {
    return grouping != HeadGrouping::neighbouring || alignment != HeadAlignment::none;
  }
};

/// The four matrices of an attention, on the host.
struct AttentionMatrices {
  Matrix q, k, v;  // [heads * dKv, dModel]
  Matrix o;        // [dModel, heads * dKv]
};

AttentionMatrices readAttention(const ParameterSet& parameters, Ops& ops,
                                const std::string& prefix);

/// Inner products of the heads of a K: keys differ by what varies from token to token.
HeadGram keyGram(const Matrix& k, const T5Config& config, AttentionModule module,
                 std::int64_t layer, const T5Calibration* calibration);
/// Inner products of the heads of a V.
HeadGram valueGram(const Matrix& v, const T5Config& config, AttentionModule module,
                   std::int64_t layer, const T5Calibration* calibration);

/// Replaces Q, K, V and O of the module's layers, whose K/V heads will be those of `target`.
/// In self-attention all layers get the same order of heads, and the position bias with them:
/// its columns belong to heads, and all layers share it.
ParameterSet prepareHeads(const T5Config& target, AttentionModule module,
                          const HeadPreparation& preparation, const ParameterSet& source, Ops& ops,
                          const AbortFlag* abort);

}  // namespace wgqa
