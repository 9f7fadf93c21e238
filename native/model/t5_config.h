// The architecture of a T5 encoder-decoder, as the native code sees it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/ops.h"

namespace wgqa {

/// The three kinds of attention module whose K/V heads can be grouped.
enum class AttentionModule : std::uint8_t { encoderSelf, decoderSelf, decoderCross };
inline constexpr int kAttentionModules = 3;

struct ModuleHeads {
  /// K/V heads the attention runs with, in all layers unless kvHeadsByLayer says otherwise.
  std::int64_t kvHeads = 0;
  /// The K/V projections still hold all heads, and merge weights reduce them.
  bool merged = false;
  /// Every query head scales the channels of the K/V head it reads by weights of its own.
  bool expanded = false;
  /// [layers], or empty. Only the decoder's may differ: the encoder caches nothing.
  std::vector<std::int64_t> kvHeadsByLayer = {};

  std::int64_t kvHeadsIn(std::int64_t layer) const {
    return kvHeadsByLayer.empty() ? kvHeads : kvHeadsByLayer[static_cast<std::size_t>(layer)];
  }
};

struct T5Config {
  std::int64_t vocabSize = 0;
  std::int64_t dModel = 0;
  std::int64_t dKv = 0;
  std::int64_t dFf = 0;
  std::int64_t encoderLayers = 0;
  std::int64_t decoderLayers = 0;
  std::int64_t heads = 0;
  ModuleHeads modules[kAttentionModules];
  MergeGranularity granularity = MergeGranularity::head;
  MergeConstraint constraint = MergeConstraint::none;
  std::int32_t relativeBuckets = 32;
  std::int32_t relativeMaxDistance = 128;
  float layerNormEpsilon = 1e-6f;
  Activation activation = Activation::relu;
  bool gated = false;
  bool tiedEmbeddings = true;
  bool scaleDecoderOutputs = true;
  float dropoutRate = 0.1f;
  float initializerFactor = 1.0f;
  std::int32_t padTokenId = 0;
  std::int32_t decoderStartTokenId = 0;
  std::vector<std::int32_t> eosTokenIds;

  std::int64_t innerDim() const { return heads * dKv; }
  std::int64_t layersOf(AttentionModule m) const {
    return m == AttentionModule::encoderSelf ? encoderLayers : decoderLayers;
  }
  const ModuleHeads& module(AttentionModule m) const { return modules[static_cast<int>(m)]; }
  ModuleHeads& module(AttentionModule m) { return modules[static_cast<int>(m)]; }
};

}  // namespace wgqa
