#include "addon/request_arguments.h"

#include "addon/arguments.h"

namespace wgqa {
namespace {

std::int32_t tokenField(const Napi::Object& object, const char* name) {
  return static_cast<std::int32_t>(integerField(object, name));
}

std::vector<std::int32_t> idsField(const Napi::Object& object, const char* name) {
  return idsOf(object.Get(name), name);
}

TokenSequences sequencesField(const Napi::Object& object, const char* name) {
  const Napi::Object ragged = objectOf(object.Get(name), name);
  return {idsField(ragged, "ids"), idsField(ragged, "offsets")};
}

std::vector<float> floatsField(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    wrongType(object.Env(), name, "a Float32Array");
  }
  const auto array = value.As<Napi::Float32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

RowEditOptions editsOf(const Napi::Object& object) {
  RowEditOptions edits;
  edits.biased = sequencesField(object, "biased");
  edits.biases = floatsField(object, "biases");
  edits.encoderRepetitionPenalty = numberField(object, "encoderRepetitionPenalty");
  edits.encoderNoRepeatNgramSize = integerField(object, "encoderNoRepeatNgramSize");
  edits.badWords = sequencesField(object, "badWords");
  if (!object.Get("forcedBosTokenId").IsUndefined()) {
    edits.forcedBosTokenId = tokenField(object, "forcedBosTokenId");
  }
  edits.forcedEosTokenIds = idsField(object, "forcedEosTokenIds");
  edits.removeInvalidValues = booleanField(object, "removeInvalidValues");
  if (const Napi::Value value = object.Get("exponentialDecay"); !value.IsUndefined()) {
    const Napi::Object decay = objectOf(value, "exponentialDecay");
    edits.exponentialDecay = {integerField(decay, "start"), numberField(decay, "factor")};
  }
  edits.suppressTokens = idsField(object, "suppressTokens");
  edits.beginSuppressTokens = idsField(object, "beginSuppressTokens");
  edits.typicalP = numberField(object, "typicalP");
  edits.epsilonCutoff = numberField(object, "epsilonCutoff");
  edits.etaCutoff = numberField(object, "etaCutoff");
  edits.renormalizeLogits = booleanField(object, "renormalizeLogits");
  return edits;
}

EarlyStopping earlyStoppingOf(const Napi::Object& object) {
  if (object.Get("earlyStopping").IsString()) return EarlyStopping::never;
  return booleanField(object, "earlyStopping") ? EarlyStopping::yes : EarlyStopping::no;
}

GenerationOptions generationOptionsOf(const Napi::Object& object) {
  GenerationOptions options;
  options.maxNewTokens = integerField(object, "maxNewTokens");
  options.minNewTokens = integerField(object, "minNewTokens");
  options.numBeams = integerField(object, "numBeams");
  options.numReturnSequences = integerField(object, "numReturnSequences");
  options.lengthPenalty = numberField(object, "lengthPenalty");
  options.earlyStopping = earlyStoppingOf(object);
  options.noRepeatNgramSize = integerField(object, "noRepeatNgramSize");
  options.repetitionPenalty = numberField(object, "repetitionPenalty");
  options.doSample = booleanField(object, "doSample");
  options.temperature = numberField(object, "temperature");
  options.topK = integerField(object, "topK");
  options.topP = numberField(object, "topP");
  options.minP = numberField(object, "minP");
  options.seed = static_cast<std::uint64_t>(integerField(object, "seed"));
  options.eosTokenIds = idsField(object, "eosTokenIds");
  options.decoderStartTokenId = tokenField(object, "decoderStartTokenId");
  options.padTokenId = tokenField(object, "padTokenId");
  options.logProbs = booleanField(object, "logProbs");
  options.topLogProbs = integerField(object, "topLogProbs");
  options.maxTimeMilliseconds = numberField(object, "maxTimeMilliseconds");
  if (const Napi::Value edits = object.Get("edits"); !edits.IsUndefined()) {
    options.edits = editsOf(objectOf(edits, "edits"));
  }
  return options;
}

}  // namespace

GenerationRequest requestArgument(const Napi::Value& value) {
  const Napi::Object object = objectOf(value, "request");
  GenerationRequest request;
  request.inputIds = idsOf(object.Get("inputIds"), "inputIds");
  request.forcedPrefix = idsOf(object.Get("forcedPrefix"), "forcedPrefix");
  request.options = generationOptionsOf(objectOf(object.Get("options"), "options"));
  request.timeoutMilliseconds = numberField(object, "timeoutMilliseconds");
  request.reportTokens = booleanField(object, "reportTokens");
  request.processesLogits = booleanField(object, "processesLogits");
  return request;
}

}  // namespace wgqa
