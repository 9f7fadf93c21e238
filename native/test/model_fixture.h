// Small random T5 models and batches for the tests of model and training.
#pragma once

#include <memory>
#include <vector>

#include "model/t5_convert.h"
#include "model/t5_model.h"
#include "model/t5_training.h"

namespace wgqa::test {

/// Multi-head, unequal depths, inner dimension different from dModel.
T5Config smallConfig(bool gated);

std::unique_ptr<T5Model> smallModel(bool gated, std::unique_ptr<Ops> ops,
                                    DType dtype = DType::float32);

inline constexpr AttentionModule kAllModules[] = {
    AttentionModule::encoderSelf, AttentionModule::decoderSelf, AttentionModule::decoderCross};

/// Conversion of all attention to so many K/V heads, with merge weights that start as the mean.
ConvertOptions conversionTo(std::int64_t kvHeads);

/// Conversion of all attention to two K/V heads, with random merge weights.
ConvertOptions weighted(MergeGranularity granularity);

/// A ragged batch with its memory: sources of 1 to 9 tokens, targets of 1 to 5, one ignored label.
struct SmallBatch {
  SmallBatch();
  TeacherForcedBatch view() const;

  std::vector<std::int32_t> encoderIds, encoderOffsets, decoderIds, decoderOffsets, labels;
};

std::vector<float> logitsOf(T5Model& model, const SmallBatch& batch);

/// The values of all parameters, one after another.
std::vector<float> allParameters(T5Model& model);

/// Largest |a - b| over the largest |b|.
double relativeError(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace wgqa::test
