// Training with bfloat16 products, and with blocks run again instead of kept.
#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "harness.h"
#include "model/t5_convert.h"
#include "model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

struct Variant {
  const char* name;
  bool gated;  // with untied embeddings; else tied ones
  std::int64_t kvHeads;
  bool merged;
  MergeGranularity granularity = MergeGranularity::head;
};

constexpr Variant kVariants[] = {
    {"MHA, tied", false, 4, false},
    {"MHA, gated, untied", true, 4, false},
    {"GQA, tied", false, 2, false},
    {"MQA, gated, untied", true, 1, false},
    {"WGQA, tied", false, 2, true, MergeGranularity::head},
    {"ROWWGQA, gated, untied", true, 2, true, MergeGranularity::row},
    {"COLWGQA, gated, untied", true, 2, true, MergeGranularity::column},
};

std::unique_ptr<T5Model> modelOf(const Variant& variant, std::unique_ptr<Ops> ops) {
  if (variant.kvHeads == 4) return smallModel(variant.gated, std::move(ops));
  ConvertOptions options;
  options.kvHeads = variant.kvHeads;
  options.weighted = variant.merged;
  options.granularity = variant.granularity;
  options.init = variant.merged ? MergeInit::random : MergeInit::mean;
  options.modules = {AttentionModule::encoderSelf, AttentionModule::decoderSelf,
                     AttentionModule::decoderCross};
  return convertModel(*smallModel(variant.gated, makeReferenceOps()), options, std::move(ops));
}

TrainerOptions optionsOf(DType computeDtype, bool activationCheckpointing) {
  TrainerOptions options;
  options.dropoutRate = 0.2f;
  options.seed = 11;
  options.training.computeDtype = computeDtype;
  options.training.activationCheckpointing = activationCheckpointing;
  return options;
}

using Gradients = std::vector<std::vector<float>>;  // in the order of the parameters

Gradients copyOf(const T5Training& training) {
  Gradients result;
  for (const auto& gradient : training.gradients()) {
    const float* data = gradient.grad.as<float>();
    result.emplace_back(data, data + gradient.grad.elements());
  }
  return result;
}

Gradients gradientsOf(T5Model& model, const TrainingOptions& options) {
  const SmallBatch batch;
  T5Training training(model, options);
  training.begin();
  training.accumulate(batch.view(), 0.125f, DropoutPlan(0.2f, 11, 0), nullptr);
  training.finish();
  return copyOf(training);
}

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<DType> computeDtypes() {
  std::vector<DType> dtypes = {DType::float32};
  if (const auto reason = makeCpuOps()->whyUnsupported({DType::bfloat16, 8, true})) {
    note("not tested in bfloat16: " + *reason);
  } else {
    dtypes.push_back(DType::bfloat16);
  }
  return dtypes;
}

// |a - b| / |b|, Euclidean: unlike the largest difference, it does not hang on a single element.
double errorNorm(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

bool hasBFloat16() { return computeDtypes().size() > 1; }

// What rounding the operands does to a gradient is what the reference shows, which rounds them and
// computes in double; other sums may put an operand on the other side of a rounding boundary.
WGQA_TEST(trainMixedPrecisionErrsAsRoundedOperandsDo) {
  if (!hasBFloat16()) return;
  for (const Variant& variant : kVariants) {
    const auto gradients = [&](std::unique_ptr<Ops> ops, DType dtype) {
      return gradientsOf(*modelOf(variant, std::move(ops)), {.computeDtype = dtype});
    };
    const Gradients exact = gradients(makeReferenceOps(), DType::float32);
    const Gradients rounded = gradients(makeReferenceOps(), DType::bfloat16);
    const Gradients actual = gradients(makeCpuOps(), DType::bfloat16);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double explained = errorNorm(rounded[i], exact[i]);
      CHECK(explained > 0.0);
      CHECK(errorNorm(actual[i], exact[i]) <= 2.0 * explained);
      CHECK(explained < 0.1);
    }
  }
}

WGQA_TEST(trainCheckpointingGivesTheSameGradients) {
  for (const DType dtype : computeDtypes()) {
    for (const Variant& variant : kVariants) {
      const auto gradients = [&](bool checkpointing) {
        return gradientsOf(*modelOf(variant, makeCpuOps()),
                           {.computeDtype = dtype, .activationCheckpointing = checkpointing});
      };
      const Gradients kept = gradients(false);
      const Gradients again = gradients(true);
      CHECK(kept.size() == again.size());
      for (std::size_t i = 0; i < kept.size(); ++i) CHECK(sameBits(again[i], kept[i]));
    }
  }
}

// Of many equal blocks, only their inputs and the activations of one are held at a time.
WGQA_TEST(trainCheckpointingNeedsTheMemoryOfOneBlock) {
  for (const DType dtype : computeDtypes()) {
    const auto scratchBytes = [&](std::int64_t layers, bool checkpointing) {
      T5Config config = smallConfig(true);
      config.encoderLayers = layers;
      config.decoderLayers = layers;
      T5Model model(config, initialT5Parameters(config, 7), makeCpuOps(), DType::float32);
      Trainer trainer(model, optionsOf(dtype, checkpointing));
      const SmallBatch batch;
      const TeacherForcedBatch view = batch.view();
      return trainer.step({&view, 1}, 1e-3f, nullptr).scratchBytes;
    };
    const std::int64_t keptPerLayer = (scratchBytes(12, false) - scratchBytes(2, false)) / 10;
    const std::int64_t againPerLayer = (scratchBytes(12, true) - scratchBytes(2, true)) / 10;
    const SmallBatch batch;
    const auto tokens =
        static_cast<std::int64_t>(batch.encoderIds.size() + batch.decoderIds.size());
    // The input of each block, float32, and what alignment adds to two small tensors.
    CHECK(againPerLayer <= tokens * smallConfig(true).dModel * 4 + 512);
    CHECK(keptPerLayer > 5 * againPerLayer);
  }
}

std::vector<double> lossesOf(const Variant& variant, const TrainerOptions& options, int steps) {
  const auto model = modelOf(variant, makeCpuOps());
  Trainer trainer(*model, options);
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  std::vector<double> losses;
  for (int i = 0; i < steps; ++i) {
    losses.push_back(trainer.step({&view, 1}, 1e-2f, nullptr).loss);
  }
  return losses;
}

WGQA_TEST(trainMixedPrecisionLearnsAsFloat32Does) {
  if (!hasBFloat16()) return;
  for (const Variant& variant : kVariants) {
    TrainerOptions options = optionsOf(DType::bfloat16, false);
    options.dropoutRate = 0.0f;
    const auto mixed = lossesOf(variant, options, 20);
    options.training.computeDtype = DType::float32;
    const auto full = lossesOf(variant, options, 20);
    CHECK(std::isfinite(mixed.back()));
    CHECK(mixed.back() < 0.5 * mixed.front());
    // The first loss differs by rounding alone: eight bits of mantissa, averaged over labels.
    CHECK(std::abs(mixed.front() - full.front()) < 0.01 * full.front());
  }
}

WGQA_TEST(trainMixedPrecisionDependsOnThreadsByRoundingAlone) {
  if (!hasBFloat16()) return;
  const auto gradients = [](int threads) {
    setThreadCount(threads);
    const Gradients result =
        gradientsOf(*modelOf(kVariants[4], makeCpuOps()), {.computeDtype = DType::bfloat16});
    setThreadCount(0);
    return result;
  };
  const Gradients one = gradients(1);
  const Gradients two = gradients(2);
  const Gradients again = gradients(2);
  for (std::size_t i = 0; i < one.size(); ++i) {
    CHECK(relativeError(two[i], one[i]) < 0x1p-7);  // a product's sums may be split by thread
    CHECK(sameBits(again[i], two[i]));
  }
}

// Micro-batches after the first add to what the first has written.
WGQA_TEST(trainMixedPrecisionAccumulates) {
  for (const DType dtype : computeDtypes()) {
    const auto model = modelOf(kVariants[4], makeCpuOps());
    const SmallBatch batch;
    T5Training training(*model, {.computeDtype = dtype});
    const auto sums = [&](int microBatches) {
      training.begin();
      for (int i = 0; i < microBatches; ++i) {
        training.accumulate(batch.view(), 0.125f, DropoutPlan(0.0f, 0, 0), nullptr);
      }
      training.finish();
      return copyOf(training);
    };
    const Gradients once = sums(1);
    const Gradients twice = sums(2);
    const Gradients onceMore = sums(1);
    for (std::size_t i = 0; i < once.size(); ++i) {
      std::vector<float> doubled = once[i];
      for (float& value : doubled) value *= 2.0f;
      CHECK(relativeError(twice[i], doubled) < 2e-5);
      CHECK(sameBits(onceMore[i], once[i]));
    }
  }
}

}  // namespace
}  // namespace wgqa::test
