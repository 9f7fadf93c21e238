// JavaScript values to native ones. The TypeScript layer has validated them; what is checked here
// keeps a mistake there from becoming a crash: wrong types throw TypeError, sizes and ids throw
// wgqa::Error.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "decode/scheduler.h"
#include "model/t5_convert.h"
#include "train/trainer.h"

namespace wgqa {

std::int64_t integerField(const Napi::Object& object, const char* name);
double numberField(const Napi::Object& object, const char* name);
bool booleanField(const Napi::Object& object, const char* name);
std::string stringField(const Napi::Object& object, const char* name);
/// An array of strings.
std::vector<std::string> stringsField(const Napi::Object& object, const char* name);
/// An Int32Array.
std::vector<std::int32_t> idsOf(const Napi::Value& value, const char* name);

T5Config configArgument(const Napi::Value& value);
Napi::Object configToJs(Napi::Env env, const T5Config& config);
ConvertOptions convertArgument(const Napi::Value& value);
/// Without the model that teaches.
TrainerOptions trainerArgument(const Napi::Value& value);
EngineOptions engineArgument(const Napi::Value& value);
/// NativeGenerationRequest without its stop strings.
GenerationRequest requestArgument(const Napi::Value& value);

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
