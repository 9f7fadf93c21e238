// Multi-head to grouped attention and back to plain weights: conversion and folding of a T5 model.
#pragma once

#include <memory>
#include <vector>

#include "merge/head_groups.h"
#include "model/t5_model.h"

namespace wgqa {

struct ConvertOptions {
  std::int64_t kvHeads = 1;
  /// true: learned merge weights beside all original heads; false: mean-pooled heads (GQA, MQA).
  bool weighted = true;
  MergeGranularity granularity = MergeGranularity::head;
  MergeInit init = MergeInit::mean;
  std::uint64_t seed = 0;
  std::vector<AttentionModule> modules = {AttentionModule::decoderSelf,
                                          AttentionModule::decoderCross};
};

/// A new model whose listed modules have kvHeads K/V heads; unchanged tensors are shared with
/// `source`. Throws ErrorCode::invalidArgument (kvHeads must divide the heads) and
/// ErrorCode::alreadyConverted.
std::unique_ptr<T5Model> convertModel(T5Model& source, const ConvertOptions& options,
                                      std::unique_ptr<Ops> ops);

/// A new model with each merge carried out: same function, no merge weights, kvHeads heads in its
/// projections. Throws ErrorCode::nothingToFold.
std::unique_ptr<T5Model> foldModel(T5Model& source, std::unique_ptr<Ops> ops);

}  // namespace wgqa
