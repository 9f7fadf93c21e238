// T5 over the operations: conversion, folding and agreement of the backends.
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "decode/scheduler.h"
#include "harness.h"
#include "model/t5_convert.h"
#include "model/t5_inference.h"
#include "model_fixture.h"

namespace wgqa::test {
namespace {

// float32 end to end: rounding grows with depth, and the models here are shallow.
constexpr double kFloat32 = 1e-5;
// bfloat16 keeps 8 bits: a rounding error of 2^-9 for each product's operands, over the layers.
constexpr double kBFloat16 = 4e-2;

ConvertOptions weighted(std::int64_t kvHeads, MergeGranularity granularity, MergeInit init) {
  ConvertOptions options;
  options.kvHeads = kvHeads;
  options.granularity = granularity;
  options.init = init;
  options.seed = 11;
  return options;
}

WGQA_TEST(modelBackendsAgree) {
  const SmallBatch batch;
  for (const bool gated : {false, true}) {
    const auto reference = logitsOf(*smallModel(gated, makeReferenceOps()), batch);
    const auto cpu = logitsOf(*smallModel(gated, makeCpuOps()), batch);
    CHECK(relativeError(cpu, reference) < kFloat32);
    const auto half = logitsOf(*smallModel(gated, makeCpuOps(), DType::bfloat16), batch);
    CHECK(relativeError(half, reference) < kBFloat16);
    CHECK(relativeError(half, reference) > 0.0);
  }
}

// Checks that `make` is declined, with what is allowed instead.
void checkDeclined(const std::function<void()>& make, const std::string& field,
                   const std::string& message) {
  try {
    make();
    fail("accepted a bad " + field);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK_EQUAL(error.field(), field);
    CHECK_EQUAL(std::string(error.what()), message);
    CHECK_EQUAL(error.allowed(), "'float32' | 'bfloat16' | 'int8'");
  }
}

WGQA_TEST(modelInFloat16IsDeclinedByTheCpu) {
  checkDeclined([] { smallModel(true, makeCpuOps(), DType::float16); }, "dtype",
                "the cpu backend computes in float32, bfloat16 or int8, not in float16");
  const auto model = smallModel(true, makeCpuOps());
  const auto decoder = model->makeEncoderDecoder(makeCpuOps());
  const EngineOptions options{.maxCacheBytes = 1 << 20, .cacheDtype = DType::float16};
  checkDeclined([&] { Scheduler(*decoder, options); }, "kvCache.dtype",
                "the cpu backend keeps keys and values in float32, bfloat16 or int8, not in "
                "float16");
}

WGQA_TEST(modelFoldKeepsTheFunction) {
  const SmallBatch batch;
  for (const auto granularity :
       {MergeGranularity::head, MergeGranularity::row, MergeGranularity::column}) {
    for (const std::int64_t kvHeads : {1, 2, 4}) {
      const auto base = smallModel(true, makeCpuOps());
      const auto converted =
          convertModel(*base, weighted(kvHeads, granularity, MergeInit::random), makeCpuOps());
      const auto folded = foldModel(*converted, makeCpuOps());
      CHECK(relativeError(logitsOf(*folded, batch), logitsOf(*converted, batch)) < kFloat32);
      const auto shape = folded->inference().cacheShape();
      for (const std::int64_t heads : shape.selfKvHeads) CHECK_EQUAL(heads, kvHeads);
      CHECK(folded->parameters().find("decoder.block.0.layer.0.SelfAttention.k.merge_weight") ==
            nullptr);
      const auto again = foldModel(*folded, makeCpuOps());
      CHECK(logitsOf(*again, batch) == logitsOf(*folded, batch));
    }
  }
}

WGQA_TEST(modelMeanMergeIsMeanPooling) {
  const SmallBatch batch;
  const auto base = smallModel(false, makeCpuOps());
  for (const auto granularity :
       {MergeGranularity::head, MergeGranularity::row, MergeGranularity::column}) {
    ConvertOptions pooled = weighted(2, granularity, MergeInit::mean);
    const auto merged = convertModel(*base, pooled, makeCpuOps());
    pooled.weighted = false;
    const auto mean = convertModel(*base, pooled, makeCpuOps());
    CHECK(relativeError(logitsOf(*merged, batch), logitsOf(*mean, batch)) < kFloat32);
  }
}

WGQA_TEST(modelConvertRefusesWhatCannotBe) {
  const auto base = smallModel(false, makeCpuOps());
  for (const std::int64_t kvHeads : {0, 3, 8, -1}) {
    CHECK_THROWS(ErrorCode::invalidArgument,
                 convertModel(*base, weighted(kvHeads, MergeGranularity::head, MergeInit::mean),
                              makeCpuOps()));
  }
  const auto options = weighted(2, MergeGranularity::head, MergeInit::mean);
  const auto converted = convertModel(*base, options, makeCpuOps());
  CHECK_THROWS(ErrorCode::alreadyConverted, convertModel(*converted, options, makeCpuOps()));
  const auto folded = foldModel(*converted, makeCpuOps());
  CHECK_THROWS(ErrorCode::alreadyConverted, convertModel(*folded, options, makeCpuOps()));
}

WGQA_TEST(modelConversionSharesAndLeavesTheSourceAlone) {
  const SmallBatch batch;
  const auto base = smallModel(false, makeCpuOps());
  const auto before = logitsOf(*base, batch);
  const auto converted =
      convertModel(*base, weighted(2, MergeGranularity::head, MergeInit::mean), makeCpuOps());
  CHECK(converted->parameters().at("shared.weight").view().data ==
        base->parameters().at("shared.weight").view().data);
  const TensorView written =
      T5Model::ParameterUpdate(*converted).writable(converted->parameter("shared.weight"));
  std::fill_n(written.as<float>(), written.elements(), 0.5f);
  CHECK(logitsOf(*base, batch) == before);
}

WGQA_TEST(modelChecksItsTensors) {
  T5Config config = smallConfig(true);
  ParameterSet missing;
  const ParameterSet whole = initialT5Parameters(config, 1);
  for (const auto& parameter : whole.all()) {
    if (parameter->name() != "lm_head.weight") missing.add(*parameter);
  }
  CHECK_THROWS(ErrorCode::invalidFile, checkT5Parameters(config, missing));
  ParameterSet extra = initialT5Parameters(config, 1);
  extra.add(Parameter("stray.weight", {2, 2}));
  CHECK_THROWS(ErrorCode::invalidFile, checkT5Parameters(config, extra));
  const ParameterSet other = initialT5Parameters(config, 1);
  config.dFf = 41;
  CHECK_THROWS(ErrorCode::invalidFile, checkT5Parameters(config, other));
}

WGQA_TEST(modelStopsWhenAborted) {
  const SmallBatch batch;
  const auto model = smallModel(true, makeCpuOps());
  const AbortFlag abort = true;
  CHECK_THROWS(ErrorCode::aborted, model->inference().teacherForced(batch.view(), {}, {}, &abort));
}

}  // namespace
}  // namespace wgqa::test
