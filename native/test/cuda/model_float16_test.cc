// Whole models in float16: what its small range must not do to them.
#include <algorithm>
#include <cmath>
#include <utility>

#include "ops/reference/reference_ops.h"
#include "ops/reference/wide.h"
#include "test/cuda/cuda_devices.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"
#include "test/model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

// The reference, with an eye on what feed-forward activations come to.
class WatchedOps final : public reference::ReferenceOps {
 public:
  explicit WatchedOps(double& largest) : largest_(largest) {}
  void gatedActivation(const GatedActivation& p) override {
    ReferenceOps::gatedActivation(p);
    for (const double x : reference::load(p.out)) largest_ = std::max(largest_, std::abs(x));
  }

 private:
  double& largest_;
};

// With the first weights of feed-forward times `factor`.
std::unique_ptr<T5Model> largeModel(bool gated, float factor, std::unique_ptr<Ops> ops,
                                    DType dtype) {
  const T5Config config = smallConfig(gated);
  const ParameterSet initial = initialT5Parameters(config, 7);
  ParameterSet parameters;
  for (const auto& parameter : initial.all()) {
    Parameter& added = parameters.add(Parameter(parameter->name(), parameter->shape()));
    parameter->copyTo(*ops, DType::float32, added.hostFloats());
    if (parameter->name().find(".wi") == std::string::npos) continue;
    for (std::int64_t i = 0; i < added.elements(); ++i) added.hostFloats()[i] *= factor;
  }
  return std::make_unique<T5Model>(config, std::move(parameters), std::move(ops), dtype);
}

// T5's feed-forward is known to: Hugging Face keeps its second weight in float32 beside float16.
WGQA_TEST(cudaModelInFloat16TakesActivationsBeyondItsRange) {
  constexpr double kLargestFloat16 = 65504.0;
  const SmallBatch batch;
  for (const bool gated : {false, true}) {
    const float factor = gated ? 1e3f : 5e4f;  // gated activations are products of two
    const auto logitsIn = [&](DType dtype, std::unique_ptr<Ops> ops) {
      return logitsOf(*largeModel(gated, factor, std::move(ops), dtype), batch);
    };
    double largest = 0.0;
    auto watched = std::make_unique<WatchedOps>(largest);
    const auto exact = logitsIn(DType::float32, std::move(watched));
    CHECK(largest > kLargestFloat16);
    const double explained = relativeError(logitsIn(DType::float16, makeReferenceOps()), exact);
    // Three bits more than bfloat16, also where it takes the place of float32.
    const double coarse = relativeError(logitsIn(DType::bfloat16, makeReferenceOps()), exact);
    CHECK(4.0 * explained < coarse);
    onEachDevice([&](const MakeOps& makeOps) {
      const double error = relativeError(logitsIn(DType::float16, makeOps()), exact);
      if (!(error <= 2.0 * explained)) fail(describe(error) + " beside " + describe(explained));
    });
  }
}

// What overflows all the same is not passed over: here weights do.
WGQA_TEST(cudaModelInFloat16FailsWhereWeightsOverflow) {
  const GenerationRequest request = makeRequest({3, 4, 5}, 4);
  onEachDevice([&](const MakeOps& makeOps) {
    const auto model = largeModel(false, 1e7f, makeOps(), DType::float16);
    const auto encoderDecoder = model->makeEncoderDecoder(makeOps());
    CHECK_THROWS(ErrorCode::nonFinite,
                 decodeAlone(*encoderDecoder, {.maxCacheBytes = 1 << 20}, request, {}));
  });
}

// Gradients in float16 underflow; bfloat16 is as fast.
WGQA_TEST(cudaModelDeclinesToTrainInFloat16) {
  onEachDevice([](const MakeOps& makeOps) {
    const auto model = smallModel(true, makeOps(), DType::float16);
    TrainerOptions options;
    options.training.computeDtype = DType::float16;
    try {
      const Trainer trainer(*model, options);
      fail("a trainer in float16");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::unsupported);
      CHECK_EQUAL(error.field(), "computeDtype");
      CHECK_EQUAL(error.allowed(), "'float32' | 'bfloat16'");
    }
  });
}

}  // namespace
}  // namespace wgqa::test
