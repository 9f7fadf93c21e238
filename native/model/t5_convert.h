// Multi-head to grouped attention and back to plain weights: conversion and folding of a T5 model.
#pragma once

#include <memory>
#include <vector>

#include "merge/head_groups.h"
#include "model/t5_model.h"

namespace wgqa {

class T5Calibration;

struct ConvertOptions {
  std::int64_t kvHeads = 1;
  /// [decoder layers] for modules whose layers differ; empty: kvHeads in all layers.
  std::vector<std::int64_t> kvHeadsByLayer[kAttentionModules];
  /// true: learned merge weights beside all original heads; false: mean-pooled heads (GQA, MQA).
  bool weighted = true;
  MergeGranularity granularity = MergeGranularity::head;
  MergeConstraint constraint = MergeConstraint::none;
  MergeInit init = MergeInit::mean;
  std::uint64_t seed = 0;
  /// Weighted expansion (t5_derived.h), which starts as none.
  bool expanded = false;
  HeadGrouping grouping = HeadGrouping::neighbouring;
  HeadAlignment alignment = HeadAlignment::none;
  std::vector<AttentionModule> modules = {AttentionModule::decoderSelf,
                                          AttentionModule::decoderCross};
};

/// A new model whose listed modules have the K/V heads of the options; unchanged tensors are shared
/// with `source`. `calibration`, of the same architecture, may be null; MergeInit::leastSquares
/// needs one. Throws ErrorCode::invalidArgument, ErrorCode::alreadyConverted, ErrorCode::aborted.
std::unique_ptr<T5Model> convertModel(T5Model& source, const ConvertOptions& options,
                                      std::unique_ptr<Ops> ops,
                                      const T5Calibration* calibration = nullptr,
                                      const AbortFlag* abort = nullptr);

/// A new model with each merge and expansion carried out: same function, no conversion weights, in
/// its K/V projections the heads that it caches. Without any, it shares all tensors with `source`.
/// Throws ErrorCode::aborted between layers.
std::unique_ptr<T5Model> foldModel(T5Model& source, std::unique_ptr<Ops> ops,
                                   const AbortFlag* abort = nullptr);

}  // namespace wgqa
