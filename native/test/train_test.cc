// Gradients and optimiser steps of the whole model.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/parallel.h"
#include "harness.h"
#include "model/t5_convert.h"
#include "model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

// Gradients sum many float32 terms of both signs; the largest of a tensor sets the scale.
constexpr double kGradient = 2e-5;

std::unique_ptr<T5Model> convertedModel(std::unique_ptr<Ops> ops, MergeGranularity granularity,
                                        MergeConstraint constraint = MergeConstraint::none) {
  ConvertOptions options = weighted(granularity);
  options.constraint = constraint;
  return convertModel(*smallModel(true, makeReferenceOps()), options, std::move(ops));
}

using NamedGradients = std::vector<std::pair<std::string, std::vector<float>>>;

NamedGradients gradientsOf(T5Model& model, const TrainerOptions& options,
                           std::span<const TeacherForcedBatch> batches) {
  Trainer trainer(model, options);
  NamedGradients result;
  for (const auto& gradient : trainer.gradients(batches, nullptr)) {
    const float* data = gradient.grad.as<float>();
    result.emplace_back(gradient.parameter->name(),
                        std::vector<float>(data, data + gradient.grad.elements()));
  }
  return result;
}

std::vector<float> afterSteps(int threads, OptimizerType optimizer) {
  setThreadCount(threads);
  const auto model = convertedModel(makeCpuOps(), MergeGranularity::column);
  TrainerOptions options;
  options.optimizer = optimizer;
  options.dropoutRate = 0.3f;
  options.maxGradNorm = 1.0f;
  options.seed = 5;
  Trainer trainer(*model, options);
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  for (int step = 0; step < 3; ++step) trainer.step({&view, 1}, 1e-2f, nullptr);
  setThreadCount(0);
  return allParameters(*model);
}

WGQA_TEST(trainGradientsAgreeWithTheReferenceBackend) {
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  for (const auto constraint :
       {MergeConstraint::none, MergeConstraint::softmax, MergeConstraint::signedUnit}) {
    for (const auto granularity :
         {MergeGranularity::head, MergeGranularity::row, MergeGranularity::column}) {
      const auto reference = convertedModel(makeReferenceOps(), granularity, constraint);
      const auto model = convertedModel(makeCpuOps(), granularity, constraint);
      const auto expected = gradientsOf(*reference, {}, {&view, 1});
      const auto actual = gradientsOf(*model, {}, {&view, 1});
      CHECK(actual.size() == expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CHECK(actual[i].first == expected[i].first);
        CHECK(relativeError(actual[i].second, expected[i].second) < kGradient);
      }
    }
  }
}

WGQA_TEST(trainDropoutDependsOnTheSeedAndNotOnThreads) {
  for (const auto optimizer : {OptimizerType::adamW, OptimizerType::adafactor}) {
    const auto one = afterSteps(1, optimizer);
    const auto two = afterSteps(2, optimizer);
    CHECK(one.size() == two.size());
    // Dense products may split their sums by thread: equal to rounding, not to the bit.
    CHECK(relativeError(two, one) < 1e-3);
    CHECK(afterSteps(2, optimizer) == two);
  }
}

WGQA_TEST(trainMergeOnlyLeavesTheBaseAlone) {
  const auto model = convertedModel(makeCpuOps(), MergeGranularity::head);
  const std::vector<float> before = allParameters(*model);
  TrainerOptions options;
  options.training.trainable = Trainable::merge;
  Trainer trainer(*model, options);
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  trainer.step({&view, 1}, 1e-2f, nullptr);
  const std::vector<float> after = allParameters(*model);
  std::size_t place = 0;
  for (const auto& parameter : model->parameters().all()) {
    const auto elements = static_cast<std::size_t>(parameter->elements());
    const bool same = std::memcmp(&before[place], &after[place], elements * sizeof(float)) == 0;
    CHECK(same != parameter->name().ends_with(".merge_weight"));
    place += elements;
  }
  const auto base = smallModel(true, makeCpuOps());
  CHECK_THROWS(ErrorCode::invalidArgument, Trainer(*base, options));
}

WGQA_TEST(trainFailedStepChangesNothing) {
  const auto model = convertedModel(makeCpuOps(), MergeGranularity::row);
  Trainer trainer(*model, {});
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  trainer.step({&view, 1}, 1e-3f, nullptr);
  T5Model::ParameterUpdate(*model)
      .writable(model->parameter("decoder.final_layer_norm.weight"))
      .as<float>()[0] = std::numeric_limits<float>::infinity();
  const std::vector<float> before = allParameters(*model);
  CHECK_THROWS(ErrorCode::nonFinite, trainer.step({&view, 1}, 1e-3f, nullptr));
  const AbortFlag abort = true;
  CHECK_THROWS(ErrorCode::aborted, trainer.step({&view, 1}, 1e-3f, &abort));
  CHECK(std::memcmp(before.data(), allParameters(*model).data(), before.size() * sizeof(float)) ==
        0);
  CHECK(trainer.stepCount() == 1);
}

WGQA_TEST(trainMicroBatchesSumToOneBatch) {
  const SmallBatch batch;
  const TeacherForcedBatch whole = batch.view();
  const auto model = convertedModel(makeCpuOps(), MergeGranularity::head);
  const auto once = gradientsOf(*model, {}, {&whole, 1});
  // The same rows twice: twice the sum over twice the labels.
  const std::vector<TeacherForcedBatch> twice = {whole, whole};
  const auto doubled = gradientsOf(*model, {}, twice);
  for (std::size_t i = 0; i < once.size(); ++i) {
    CHECK(relativeError(doubled[i].second, once[i].second) < kGradient);
  }
}

}  // namespace
}  // namespace wgqa::test
