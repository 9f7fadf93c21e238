#include "addon/arguments.h"

#include <cmath>
#include <limits>

namespace wgqa {
namespace {

constexpr double kLargestInteger = 9007199254740991.0;

template <typename T>
struct Named {
  const char* name;
  T value;
};

template <typename T, std::size_t N>
T oneOf(const std::string& text, const char* field, const Named<T> (&table)[N]) {
  std::string allowed;
  for (const Named<T>& entry : table) {
    if (text == entry.name) return entry.value;
    allowed += (allowed.empty() ? "'" : " | '") + std::string(entry.name) + "'";
  }
  throw invalidArgument(field, allowed, "'" + text + "'");
}

constexpr Named<AttentionModule> kModules[] = {{"encoder.self", AttentionModule::encoderSelf},
                                               {"decoder.self", AttentionModule::decoderSelf},
                                               {"decoder.cross", AttentionModule::decoderCross}};
constexpr Named<MergeGranularity> kGranularities[] = {{"head", MergeGranularity::head},
                                                      {"row", MergeGranularity::row},
                                                      {"column", MergeGranularity::column}};
constexpr Named<MergeConstraint> kConstraints[] = {{"none", MergeConstraint::none},
                                                   {"softmax", MergeConstraint::softmax},
                                                   {"signed", MergeConstraint::signedUnit}};
constexpr Named<Activation> kActivations[] = {
    {"relu", Activation::relu}, {"geluTanh", Activation::geluTanh}, {"silu", Activation::silu}};
constexpr Named<bool> kMerges[] = {{"mean", false}, {"weighted", true}};
constexpr Named<MergeInit> kInits[] = {{"mean", MergeInit::mean},
                                       {"random", MergeInit::random},
                                       {"least-squares", MergeInit::leastSquares}};
constexpr Named<HeadGrouping> kGroupings[] = {{"neighbouring", HeadGrouping::neighbouring},
                                              {"similarity", HeadGrouping::similarity}};
constexpr Named<HeadAlignment> kAlignments[] = {{"none", HeadAlignment::none},
                                                {"orthogonal", HeadAlignment::orthogonal}};
constexpr Named<Trainable> kTrainables[] = {{"all", Trainable::all}, {"merge", Trainable::merge}};
constexpr Named<OptimizerType> kOptimizers[] = {{"adamw", OptimizerType::adamW},
                                                {"adafactor", OptimizerType::adafactor}};

template <typename T, std::size_t N>
const char* nameOf(T value, const Named<T> (&table)[N]) {
  for (const Named<T>& entry : table) {
    if (entry.value == value) return entry.name;
  }
  return "";
}

float floatField(const Napi::Object& object, const char* name) {
  return static_cast<float>(numberField(object, name));
}

template <typename Convert>
auto listOf(const Napi::Value& value, const char* name, const Convert& convert) {
  if (!value.IsArray()) wrongType(value.Env(), name, "an array");
  const auto array = value.As<Napi::Array>();
  std::vector<decltype(convert(value))> list;
  for (std::uint32_t i = 0; i < array.Length(); ++i) list.push_back(convert(array.Get(i)));
  return list;
}

std::vector<std::int32_t> tokenIdsField(const Napi::Object& object, const char* name) {
  return listOf(object.Get(name), name,
                [](const Napi::Value& id) { return id.ToNumber().Int32Value(); });
}

std::vector<AttentionModule> modulesOf(const Napi::Value& value) {
  return listOf(value, "modules", [](const Napi::Value& module) {
    return oneOf(module.ToString().Utf8Value(), "modules", kModules);
  });
}

// A number for each layer of a module.
std::vector<std::int64_t> kvHeadsOf(const Napi::Value& value) {
  return listOf(value, "kvHeads",
                [](const Napi::Value& kvHeads) { return kvHeads.ToNumber().Int64Value(); });
}

// The same number in all layers, or one for each.
void readKvHeads(const Napi::Value& value, ModuleHeads& heads) {
  if (value.IsArray()) {
    heads.kvHeadsByLayer = kvHeadsOf(value);
  } else {
    heads.kvHeads = value.ToNumber().Int64Value();
  }
}

Napi::Value kvHeadsToJs(Napi::Env env, const ModuleHeads& heads) {
  if (heads.kvHeadsByLayer.empty()) {
    return Napi::Number::New(env, static_cast<double>(heads.kvHeads));
  }
  Napi::Array list = Napi::Array::New(env);
  for (const std::int64_t kvHeads : heads.kvHeadsByLayer) {
    list.Set(list.Length(), static_cast<double>(kvHeads));
  }
  return list;
}

}  // namespace

[[noreturn]] void wrongType(const Napi::Env& env, const char* name, const char* expected) {
  throw Napi::TypeError::New(env, std::string(name) + " must be " + expected);
}

Napi::Object objectOf(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) wrongType(value.Env(), name, "an object");
  return value.As<Napi::Object>();
}

double numberField(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsNumber()) wrongType(object.Env(), name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

std::int64_t integerField(const Napi::Object& object, const char* name) {
  const double value = numberField(object, name);
  if (std::trunc(value) != value || std::abs(value) > kLargestInteger) {
    wrongType(object.Env(), name, "an integer");
  }
  return static_cast<std::int64_t>(value);
}

bool booleanField(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsBoolean()) wrongType(object.Env(), name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string stringField(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsString()) wrongType(object.Env(), name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::vector<std::string> stringsField(const Napi::Object& object, const char* name) {
  return listOf(object.Get(name), name,
                [](const Napi::Value& text) { return text.ToString().Utf8Value(); });
}

std::vector<std::int32_t> idsOf(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
    wrongType(value.Env(), name, "an Int32Array");
  }
  const auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

T5Config configArgument(const Napi::Value& value) {
  const Napi::Object object = objectOf(value, "config");
  T5Config config;
  config.vocabSize = integerField(object, "vocabSize");
  config.dModel = integerField(object, "dModel");
  config.dKv = integerField(object, "dKv");
  config.dFf = integerField(object, "dFf");
  config.encoderLayers = integerField(object, "encoderLayers");
  config.decoderLayers = integerField(object, "decoderLayers");
  config.heads = integerField(object, "heads");
  const Napi::Object kvHeads = objectOf(object.Get("kvHeads"), "kvHeads");
  for (const auto& module : kModules) {
    readKvHeads(kvHeads.Get(module.name), config.module(module.value));
  }
  for (const AttentionModule module : modulesOf(object.Get("mergedModules"))) {
    config.module(module).merged = true;
  }
  for (const AttentionModule module : modulesOf(object.Get("expandedModules"))) {
    config.module(module).expanded = true;
  }
  if (object.Get("granularity").IsString()) {
    config.granularity = oneOf(stringField(object, "granularity"), "granularity", kGranularities);
  }
  config.constraint = oneOf(stringField(object, "constraint"), "constraint", kConstraints);
  config.relativeBuckets = static_cast<std::int32_t>(integerField(object, "relativeBuckets"));
  config.relativeMaxDistance =
      static_cast<std::int32_t>(integerField(object, "relativeMaxDistance"));
  config.layerNormEpsilon = floatField(object, "layerNormEpsilon");
  config.activation = oneOf(stringField(object, "activation"), "activation", kActivations);
  config.gated = booleanField(object, "gated");
  config.tiedEmbeddings = booleanField(object, "tiedEmbeddings");
  config.scaleDecoderOutputs = booleanField(object, "scaleDecoderOutputs");
  config.dropoutRate = floatField(object, "dropoutRate");
  config.initializerFactor = floatField(object, "initializerFactor");
  config.padTokenId = static_cast<std::int32_t>(integerField(object, "padTokenId"));
  config.decoderStartTokenId =
      static_cast<std::int32_t>(integerField(object, "decoderStartTokenId"));
  config.eosTokenIds = tokenIdsField(object, "eosTokenIds");
  return config;
}

Napi::Object configToJs(Napi::Env env, const T5Config& config) {
  Napi::Object object = Napi::Object::New(env);
  const auto number = [&](const char* name, double value) { object.Set(name, value); };
  number("vocabSize", static_cast<double>(config.vocabSize));
  number("dModel", static_cast<double>(config.dModel));
  number("dKv", static_cast<double>(config.dKv));
  number("dFf", static_cast<double>(config.dFf));
  number("encoderLayers", static_cast<double>(config.encoderLayers));
  number("decoderLayers", static_cast<double>(config.decoderLayers));
  number("heads", static_cast<double>(config.heads));
  Napi::Object kvHeads = Napi::Object::New(env);
  Napi::Array merged = Napi::Array::New(env);
  Napi::Array expanded = Napi::Array::New(env);
  for (const auto& module : kModules) {
    const ModuleHeads& heads = config.module(module.value);
    kvHeads.Set(module.name, kvHeadsToJs(env, heads));
    if (heads.merged) merged.Set(merged.Length(), module.name);
    if (heads.expanded) expanded.Set(expanded.Length(), module.name);
  }
  object.Set("kvHeads", kvHeads);
  object.Set("mergedModules", merged);
  object.Set("expandedModules", expanded);
  if (merged.Length() > 0) object.Set("granularity", nameOf(config.granularity, kGranularities));
  object.Set("constraint", nameOf(config.constraint, kConstraints));
  number("relativeBuckets", config.relativeBuckets);
  number("relativeMaxDistance", config.relativeMaxDistance);
  number("layerNormEpsilon", config.layerNormEpsilon);
  object.Set("activation", nameOf(config.activation, kActivations));
  object.Set("gated", config.gated);
  object.Set("tiedEmbeddings", config.tiedEmbeddings);
  object.Set("scaleDecoderOutputs", config.scaleDecoderOutputs);
  number("dropoutRate", config.dropoutRate);
  number("initializerFactor", config.initializerFactor);
  number("padTokenId", config.padTokenId);
  number("decoderStartTokenId", config.decoderStartTokenId);
  Napi::Array eos = Napi::Array::New(env);
  for (const std::int32_t id : config.eosTokenIds) eos.Set(eos.Length(), id);
  object.Set("eosTokenIds", eos);
  return object;
}

ConvertOptions convertArgument(const Napi::Value& value) {
  const Napi::Object object = objectOf(value, "options");
  ConvertOptions options;
  options.kvHeads = integerField(object, "kvHeads");
  const Napi::Object byLayer = objectOf(object.Get("kvHeadsByLayer"), "kvHeadsByLayer");
  for (const auto& module : kModules) {
    if (!byLayer.Has(module.name)) continue;
    options.kvHeadsByLayer[static_cast<int>(module.value)] = kvHeadsOf(byLayer.Get(module.name));
  }
  options.weighted = oneOf(stringField(object, "merge"), "merge", kMerges);
  options.granularity = oneOf(stringField(object, "granularity"), "granularity", kGranularities);
  options.init = oneOf(stringField(object, "init"), "init", kInits);
  options.seed = static_cast<std::uint64_t>(integerField(object, "seed"));
  options.modules = modulesOf(object.Get("modules"));
  options.constraint = oneOf(stringField(object, "constraint"), "constraint", kConstraints);
  options.expanded = booleanField(object, "expansion");
  options.grouping = oneOf(stringField(object, "grouping"), "grouping", kGroupings);
  options.alignment = oneOf(stringField(object, "alignment"), "alignment", kAlignments);
  return options;
}

TrainerOptions trainerArgument(const Napi::Value& value) {
  const Napi::Object object = objectOf(value, "options");
  const Napi::Object optimizer = objectOf(object.Get("optimizer"), "optimizer");
  TrainerOptions options;
  options.optimizer = oneOf(stringField(optimizer, "type"), "optimizer.type", kOptimizers);
  options.weightDecay = floatField(optimizer, "weightDecay");
  if (options.optimizer == OptimizerType::adamW) {
    options.adamW = {floatField(optimizer, "beta1"), floatField(optimizer, "beta2"),
                     floatField(optimizer, "epsilon")};
  } else {
    options.adafactor = {floatField(optimizer, "decayRate"), floatField(optimizer, "gradEpsilon"),
                         floatField(optimizer, "parameterEpsilon"),
                         floatField(optimizer, "clipThreshold"),
                         booleanField(optimizer, "scaleParameter")};
  }
  options.training.trainable = oneOf(stringField(object, "trainable"), "trainable", kTrainables);
  options.training.computeDtype =
      dtypeFromName(stringField(object, "computeDtype"), "computeDtype");
  options.training.activationCheckpointing = booleanField(object, "activationCheckpointing");
  if (const Napi::Value distillation = object.Get("distillation"); !distillation.IsUndefined()) {
    const Napi::Object given = objectOf(distillation, "distillation");
    options.training.distillation.weight = floatField(given, "weight");
    options.training.distillation.temperature = floatField(given, "temperature");
  }
  options.decayMergeWeights = booleanField(object, "decayMergeWeights");
  options.maxGradNorm = floatField(object, "maxGradNorm");
  options.dropoutRate = floatField(object, "dropoutRate");
  options.seed = static_cast<std::uint64_t>(integerField(object, "seed"));
  return options;
}

EngineOptions engineArgument(const Napi::Value& value) {
  const Napi::Object object = objectOf(value, "options");
  EngineOptions options;
  options.blockTokens = integerField(object, "blockTokens");
  options.maxCacheBytes = integerField(object, "maxCacheBytes");
  options.cacheDtype = dtypeFromName(stringField(object, "cacheDtype"), "kvCache.dtype");
  options.maxBatchSize = integerField(object, "maxBatchSize");
  options.maxBatchTokens = integerField(object, "maxBatchTokens");
  return options;
}

}  // namespace wgqa
