// Whole models on the CUDA backend: the same results as the reference's, from memory that the host
// cannot touch.
#include <algorithm>
#include <functional>
#include <random>
#include <utility>

#include "model/t5_calibration.h"
#include "model/t5_convert.h"
#include "model/t5_layers.h"
#include "ops/cuda/cuda_ops.h"
#include "test/cuda/cuda_devices.h"
#include "test/decode_crowd.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"
#include "test/model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

// Float32 sums of some layers in another order.
constexpr double kLogits = 1e-5;
constexpr double kGradient = 2e-5;
constexpr std::int64_t kCacheBytes = 1 << 20;

constexpr std::int64_t kWideHeadDim = 64;

// Heads of the size that the tensor cores' kernels take.
std::unique_ptr<T5Model> wideModel(std::unique_ptr<Ops> ops, DType dtype) {
  T5Config config = smallConfig(true);
  config.dKv = kWideHeadDim;
  return std::make_unique<T5Model>(config, initialT5Parameters(config, 7), std::move(ops), dtype);
}

WGQA_TEST(cudaModelGivesTheLogitsOfTheReference) {
  const SmallBatch batch;
  for (const bool gated : {false, true}) {
    const auto expected = logitsOf(*smallModel(gated, makeReferenceOps()), batch);
    onEachDevice([&](const MakeOps& makeOps) {
      CHECK(relativeError(logitsOf(*smallModel(gated, makeOps()), batch), expected) <= kLogits);
    });
  }
}

// The error of a smaller type, against float32, is no more than twice that of the reference in it,
// which rounds what enters a product and nothing else.
WGQA_TEST(cudaModelInASmallerTypeErrsAsMuchAsRoundingDoes) {
  const SmallBatch batch;
  const auto exact = logitsOf(*wideModel(makeReferenceOps(), DType::float32), batch);
  for (const DType dtype : {DType::float16, DType::bfloat16, DType::int8}) {
    const auto rounded = logitsOf(*wideModel(makeReferenceOps(), dtype), batch);
    const double allowed = 2.0 * relativeError(rounded, exact);
    onEachDevice(
        [&](const MakeOps& makeOps) {
          const double error = relativeError(logitsOf(*wideModel(makeOps(), dtype), batch), exact);
          if (!(error <= allowed)) fail(describe(error) + " is more than " + describe(allowed));
        },
        cudaAttentionTestDevices());
  }
}

// Tensor cores take 16-bit queries, keys and values, also beside int8 weights.
WGQA_TEST(cudaAttentionTakes16BitInputs) {
  const auto inputBeside = [](DType weights) {
    const T5Layers layers(smallConfig(true), weights,
                          std::make_shared<CudaOps>(*cudaTestDevices().front().device));
    return layers.attentionInput();
  };
  CHECK(inputBeside(DType::int8) == DType::bfloat16);
  CHECK(inputBeside(DType::bfloat16) == DType::bfloat16);
  CHECK(inputBeside(DType::float16) == DType::float16);
  CHECK(inputBeside(DType::float32) == DType::float32);
}

WGQA_TEST(cudaModelConvertsAndFolds) {
  const SmallBatch batch;
  onEachDevice([&](const MakeOps& makeOps) {
    for (const MergeGranularity granularity :
         {MergeGranularity::head, MergeGranularity::row, MergeGranularity::column}) {
      const ConvertOptions options = weighted(granularity);
      const auto expected =
          convertModel(*smallModel(true, makeReferenceOps()), options, makeReferenceOps());
      const auto converted = convertModel(*smallModel(true, makeOps()), options, makeOps());
      const auto folded = foldModel(*converted, makeOps());
      const auto logits = logitsOf(*expected, batch);
      CHECK(relativeError(logitsOf(*converted, batch), logits) <= kLogits);
      CHECK(relativeError(logitsOf(*folded, batch), logits) <= kLogits);
    }
  });
}

// Every option that reads or writes values on the device: calibration, preparation, least squares,
// expansion.
ConvertOptions preparedOptions() {
  ConvertOptions options = weighted(MergeGranularity::head);
  options.init = MergeInit::leastSquares;
  options.grouping = HeadGrouping::similarity;
  options.alignment = HeadAlignment::orthogonal;
  options.expanded = true;
  return options;
}

std::unique_ptr<T5Model> preparedModel(const std::function<std::unique_ptr<Ops>()>& makeOps) {
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  const auto base = smallModel(true, makeOps());
  const T5Calibration calibration = calibrate(*base, {&view, 1}, nullptr);
  return convertModel(*base, preparedOptions(), makeOps(), &calibration);
}

WGQA_TEST(cudaModelPreparesHeadsAsTheReference) {
  const SmallBatch batch;
  const auto expected = logitsOf(*preparedModel([] { return makeReferenceOps(); }), batch);
  onEachDevice([&](const MakeOps& makeOps) {
    const auto model = preparedModel(makeOps);
    // The heads' moments differ by rounding, and with them rotations and weights.
    CHECK(relativeError(logitsOf(*model, batch), expected) <= 10 * kLogits);
    const auto folded = foldModel(*model, makeOps());
    CHECK(relativeError(logitsOf(*folded, batch), logitsOf(*model, batch)) <= kLogits);
  });
}

// Gradients of one step, and all parameters after two.
struct Trained {
  std::vector<std::vector<float>> gradients;
  std::vector<float> parameters;
};

std::vector<std::vector<float>> gradientsOf(T5Model& model, Trainer& trainer) {
  std::vector<std::vector<float>> result;
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  for (const auto& gradient : trainer.gradients({&view, 1}, nullptr)) {
    auto& values = result.emplace_back(static_cast<std::size_t>(gradient.grad.elements()));
    model.ops().download(gradient.grad, values.data());
  }
  return result;
}

Trained train(T5Model& model, const TrainerOptions& options) {
  Trainer trainer(model, options);
  Trained result{gradientsOf(model, trainer), {}};
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  for (int i = 0; i < 2; ++i) trainer.step({&view, 1}, 1e-2f, nullptr);
  result.parameters = allParameters(model);
  return result;
}

WGQA_TEST(cudaModelTrainsAsTheReference) {
  for (const OptimizerType optimizer : {OptimizerType::adamW, OptimizerType::adafactor}) {
    const bool isPlain = optimizer == OptimizerType::adamW;
    TrainerOptions options;
    options.optimizer = optimizer;
    options.dropoutRate = 0.3f;
    options.maxGradNorm = 1.0f;
    options.weightDecay = 0.1f;
    options.seed = 5;
    options.training.activationCheckpointing = !isPlain;
    ConvertOptions convert = weighted(MergeGranularity::column);
    convert.constraint = isPlain ? MergeConstraint::none : MergeConstraint::softmax;
    convert.expanded = !isPlain;
    const auto reference =
        convertModel(*smallModel(true, makeReferenceOps()), convert, makeReferenceOps());
    const Trained expected = train(*reference, options);
    onEachDevice([&](const MakeOps& makeOps) {
      const auto model = convertModel(*smallModel(true, makeOps()), convert, makeOps());
      const Trained actual = train(*model, options);
      for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
        CHECK(relativeError(actual.gradients[i], expected.gradients[i]) <= kGradient);
      }
      // AdamW divides by the root of the gradient's square: where the gradient is almost nothing,
      // its rounding decides the step.
      CHECK(relativeError(actual.parameters, expected.parameters) <= 1e-3);
    });
  }
}

// The teacher computes on a stream of its own.
WGQA_TEST(cudaModelLearnsFromATeacherAsTheReference) {
  const auto trained = [](const std::function<std::unique_ptr<Ops>()>& makeOps) {
    const auto teacher = smallModel(true, makeOps());
    const auto model = convertModel(*smallModel(true, makeReferenceOps()),
                                    weighted(MergeGranularity::row), makeOps());
    TrainerOptions options;
    options.training.distillation = {teacher.get(), 0.6f, 2.0f};
    return train(*model, options);
  };
  const Trained expected = trained(makeReferenceOps);
  onEachDevice([&](const MakeOps& makeOps) {
    const Trained actual = trained(makeOps);
    for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
      CHECK(relativeError(actual.gradients[i], expected.gradients[i]) <= kGradient);
    }
    CHECK(relativeError(actual.parameters, expected.parameters) <= 1e-3);  // as above
  });
}

// Tensor cores also round the probabilities of attention and the gradients of its scores, which the
// reference does not: each adds an error of the size that rounding the inputs has.
WGQA_TEST(cudaModelTrainsInBFloat16) {
  const auto gradientsIn = [](DType computeDtype, std::unique_ptr<Ops> ops) {
    TrainerOptions options;
    options.training.computeDtype = computeDtype;
    const auto model = wideModel(std::move(ops), DType::float32);
    Trainer trainer(*model, options);
    return gradientsOf(*model, trainer);
  };
  const auto exact = gradientsIn(DType::float32, makeReferenceOps());
  const auto rounded = gradientsIn(DType::bfloat16, makeReferenceOps());
  onEachDevice(
      [&](const MakeOps& makeOps) {
        const auto actual = gradientsIn(DType::bfloat16, makeOps());
        for (std::size_t i = 0; i < exact.size(); ++i) {
          const double allowed = 3.0 * relativeError(rounded[i], exact[i]);
          const double error = relativeError(actual[i], exact[i]);
          if (!(error <= allowed)) fail(describe(error) + " is more than " + describe(allowed));
        }
      },
      cudaAttentionTestDevices());
}

WGQA_TEST(cudaModelKeepsWhatIsWritten) {
  onEachDevice([](const MakeOps& makeOps) {
    const auto model = smallModel(true, makeOps());
    Parameter& parameter = model->parameter("shared.weight");
    std::vector<float> values(static_cast<std::size_t>(parameter.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    {
      const T5Model::ParameterUpdate update(*model);
      model->ops().upload(values.data(), update.writable(parameter));
      model->ops().finish();
    }
    std::vector<float> read(values.size());
    parameter.copyTo(model->ops(), DType::float32, read.data());
    CHECK(read == values);
  });
}

// What the requests of a crowd get alone they get among others, preempted and resumed, too.
void decodeAloneAndAmongOthers(DType weights, DType cache) {
  constexpr int kRequests = 6;
  constexpr std::uint32_t kMostCrowds = 4;  // until one is preempted
  onEachDevice([&](const MakeOps& makeOps) {
    const auto base = wideModel(makeOps(), weights);
    ConvertOptions convert;
    convert.kvHeads = 2;
    const auto grouped = convertModel(*base, convert, makeOps());
    const auto encoderDecoder = grouped->makeEncoderDecoder(makeOps());
    std::mt19937 random(7);
    EngineOptions options;
    options.cacheDtype = cache;
    options.maxBatchTokens = 24;
    const std::int64_t blockBytes = kvElementsPerToken(encoderDecoder->cacheShape()) *
                                    options.blockTokens * static_cast<std::int64_t>(bytesOf(cache));
    options.maxCacheBytes = 5 * blockBytes;
    std::int64_t preemptions = 0;
    for (std::uint32_t seed = 3; preemptions == 0 && seed < 3 + kMostCrowds; ++seed) {
      Crowd crowd(*encoderDecoder, seed, options);
      for (int i = 0; i < kRequests; ++i) crowd.add(randomRequest(random));
      crowd.run(true);
      crowd.check(kCacheBytes);
      preemptions = crowd.scheduler().stats().preemptions;
    }
    CHECK(preemptions > 0);
  });
}

// A test each, so that those who share the tests share these.
WGQA_TEST(cudaModelInFloat32DecodesAloneAsAmongOthers) {
  decodeAloneAndAmongOthers(DType::float32, DType::float32);
}
WGQA_TEST(cudaModelInFloat32WithAFloat16CacheDecodesAloneAsAmongOthers) {
  decodeAloneAndAmongOthers(DType::float32, DType::float16);
}
WGQA_TEST(cudaModelInBFloat16DecodesAloneAsAmongOthers) {
  decodeAloneAndAmongOthers(DType::bfloat16, DType::bfloat16);
}
WGQA_TEST(cudaModelInFloat16DecodesAloneAsAmongOthers) {
  decodeAloneAndAmongOthers(DType::float16, DType::float16);
}
WGQA_TEST(cudaModelInFloat16WithAnInt8CacheDecodesAloneAsAmongOthers) {
  decodeAloneAndAmongOthers(DType::float16, DType::int8);
}
WGQA_TEST(cudaModelInInt8DecodesAloneAsAmongOthers) {
  decodeAloneAndAmongOthers(DType::int8, DType::bfloat16);
}

std::vector<GeneratedSequence> decodeWith(T5Model& model, std::unique_ptr<Ops> ops,
                                          const GenerationRequest& request) {
  const auto encoderDecoder = model.makeEncoderDecoder(std::move(ops));
  return decodeAlone(*encoderDecoder, {.maxCacheBytes = kCacheBytes}, request, {});
}

WGQA_TEST(cudaModelDecodesTheTokensOfTheReference) {
  std::vector<GenerationRequest> requests;
  std::mt19937 random(11);
  for (int i = 0; i < 8; ++i) requests.push_back(randomRequest(random));
  const auto reference = smallModel(true, makeReferenceOps());
  onEachDevice([&](const MakeOps& makeOps) {
    const auto model = smallModel(true, makeOps());
    for (const GenerationRequest& request : requests) {
      const auto expected = decodeWith(*reference, makeReferenceOps(), request);
      const auto actual = decodeWith(*model, makeOps(), request);
      CHECK_EQUAL(actual.size(), expected.size());
      for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
        CHECK(actual[i].tokenIds == expected[i].tokenIds);
      }
    }
  });
}

// Decoding asks for the same kernels again and again: most steps are replayed.
WGQA_TEST(cudaModelReplaysItsDecodingSteps) {
  onEachDevice([](const MakeOps& makeOps) {
    const auto model = smallModel(true, makeOps());
    auto ops = makeOps();
    const auto& counts = static_cast<CudaOps&>(*ops).stepCounts();
    GenerationRequest request = makeRequest({3, 4, 5}, 40);
    request.options.eosTokenIds = {};
    const auto encoderDecoder = model->makeEncoderDecoder(std::move(ops));
    decodeAlone(*encoderDecoder, {.maxCacheBytes = kCacheBytes}, request, {});
    const cuda::StepCounts steps = counts;
    CHECK_EQUAL(steps.launched + steps.replayed, 40);
    if (steps.replayed < 30) fail("only " + std::to_string(steps.replayed) + " were replayed");
  });
}

}  // namespace
}  // namespace wgqa::test
