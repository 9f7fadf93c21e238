// Batches of token ids from JavaScript.
#pragma once

#include <napi.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/t5_teacher_forced.h"

namespace wgqa {

/// A batch whose memory is its own: copied from JavaScript, handed to the model's thread.
struct OwnedBatch {
  std::vector<std::int32_t> encoderIds, encoderOffsets;
  std::vector<std::int32_t> decoderIds, decoderOffsets;
  std::vector<std::int32_t> labels;

  TeacherForcedBatch view() const;
  /// Throws ErrorCode::invalidArgument for inconsistent offsets, empty rows or ids out of range.
  void check(const T5Config& config) const;
};
OwnedBatch batchArgument(const Napi::Value& value);
std::vector<OwnedBatch> batchListArgument(const Napi::Value& value);
/// Checked, and as the model takes them; they refer to the batches.
std::vector<TeacherForcedBatch> viewsOf(std::span<const OwnedBatch> batches,
                                        const T5Config& config);

}  // namespace wgqa
