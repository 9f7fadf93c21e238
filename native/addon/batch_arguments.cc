#include "addon/batch_arguments.h"

#include <string>

#include "addon/arguments.h"

namespace wgqa {
namespace {

void checkOffsets(std::span<const std::int32_t> offsets, std::size_t tokens, const char* field) {
  bool valid = offsets.size() >= 2 && offsets.front() == 0 &&
               static_cast<std::size_t>(offsets.back()) == tokens;
  for (std::size_t i = 1; valid && i < offsets.size(); ++i) valid = offsets[i] > offsets[i - 1];
  if (!valid) {
    throw invalidArgument(field, "a list of non-empty sequences of token ids",
                          "inconsistent or empty sequences");
  }
}

void checkIds(std::span<const std::int32_t> ids, std::int64_t vocabSize, bool ignoredAllowed,
              const char* field) {
  for (const std::int32_t id : ids) {
    if (id >= 0 && id < vocabSize) continue;
    if (ignoredAllowed && id == kIgnoredLabel) continue;
    throw invalidArgument(field, "token ids in [0, " + std::to_string(vocabSize) + ")",
                          std::to_string(id));
  }
}

}  // namespace

TeacherForcedBatch OwnedBatch::view() const {
  return {encoderIds, {encoderOffsets}, decoderIds, {decoderOffsets}, labels};
}

void OwnedBatch::check(const T5Config& config) const {
  checkOffsets(encoderOffsets, encoderIds.size(), "inputIds");
  checkOffsets(decoderOffsets, decoderIds.size(), "decoderInputIds");
  if (encoderOffsets.size() != decoderOffsets.size()) {
    throw invalidArgument("decoderInputIds", "as many rows as inputIds", "another number");
  }
  checkIds(encoderIds, config.vocabSize, false, "inputIds");
  checkIds(decoderIds, config.vocabSize, false, "decoderInputIds");
  if (!labels.empty() && labels.size() != decoderIds.size()) {
    throw invalidArgument("labels", "one label per decoder token", "another number");
  }
  checkIds(labels, config.vocabSize, true, "labels");
}

OwnedBatch batchArgument(const Napi::Value& value) {
  const Napi::Object object = objectOf(value, "batch");
  const Napi::Object encoder = objectOf(object.Get("encoder"), "encoder");
  const Napi::Object decoder = objectOf(object.Get("decoder"), "decoder");
  OwnedBatch batch;
  batch.encoderIds = idsOf(encoder.Get("ids"), "encoder.ids");
  batch.encoderOffsets = idsOf(encoder.Get("offsets"), "encoder.offsets");
  batch.decoderIds = idsOf(decoder.Get("ids"), "decoder.ids");
  batch.decoderOffsets = idsOf(decoder.Get("offsets"), "decoder.offsets");
  if (object.Get("labels").IsTypedArray()) batch.labels = idsOf(object.Get("labels"), "labels");
  return batch;
}

std::vector<TeacherForcedBatch> viewsOf(std::span<const OwnedBatch> batches,
                                        const T5Config& config) {
  std::vector<TeacherForcedBatch> views;
  for (const OwnedBatch& batch : batches) {
    batch.check(config);
    views.push_back(batch.view());
  }
  return views;
}

std::vector<OwnedBatch> batchListArgument(const Napi::Value& value) {
  if (!value.IsArray()) wrongType(value.Env(), "microBatches", "an array");
  const auto array = value.As<Napi::Array>();
  std::vector<OwnedBatch> batches;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    batches.push_back(batchArgument(array.Get(i)));
  }
  return batches;
}

}  // namespace wgqa
