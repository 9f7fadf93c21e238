// Training with a teacher beside the labels.
#include <cmath>
#include <cstring>
#include <thread>

#include "harness.h"
#include "model/t5_convert.h"
#include "model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

// Gradients sum many float32 terms of both signs; the largest of a tensor sets the scale.
constexpr double kGradient = 2e-5;

using MakeOps = std::unique_ptr<Ops> (*)();

std::unique_ptr<T5Model> studentOn(MakeOps makeOps) {
  return convertModel(*smallModel(true, makeReferenceOps()), weighted(MergeGranularity::head),
                      makeOps());
}

TrainerOptions distilledFrom(T5Model& teacher, float weight, float temperature = 2.0f) {
  TrainerOptions options;
  options.training.distillation = {&teacher, weight, temperature};
  return options;
}

using Gradients = std::vector<std::vector<float>>;

Gradients gradientsOf(T5Model& model, const TrainerOptions& options) {
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  Trainer trainer(model, options);
  Gradients result;
  for (const auto& gradient : trainer.gradients({&view, 1}, nullptr)) {
    const float* data = gradient.grad.as<float>();
    result.emplace_back(data, data + gradient.grad.elements());
  }
  return result;
}

WGQA_TEST(trainDistillationAgreesWithTheReferenceBackend) {
  const auto expected = [] {
    const auto teacher = smallModel(true, makeReferenceOps());
    return gradientsOf(*studentOn(makeReferenceOps), distilledFrom(*teacher, 0.7f, 3.0f));
  }();
  const auto teacher = smallModel(true, makeCpuOps());
  const auto actual = gradientsOf(*studentOn(makeCpuOps), distilledFrom(*teacher, 0.7f, 3.0f));
  CHECK(actual.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(relativeError(actual[i], expected[i]) < kGradient);
  }
}

// The weights of the two parts add up to one, and each part is linear in its own.
WGQA_TEST(trainDistillationMixesTwoGradients) {
  const auto teacher = smallModel(true, makeCpuOps());
  const auto model = studentOn(makeCpuOps);
  const auto labels = gradientsOf(*model, {});
  const auto opinion = gradientsOf(*model, distilledFrom(*teacher, 1.0f));
  const auto mixed = gradientsOf(*model, distilledFrom(*teacher, 0.25f));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    std::vector<float> expected(labels[i].size());
    for (std::size_t j = 0; j < expected.size(); ++j) {
      expected[j] = 0.75f * labels[i][j] + 0.25f * opinion[i][j];
    }
    CHECK(relativeError(mixed[i], expected) < kGradient);
  }
}

WGQA_TEST(trainTeacherWithoutWeightChangesNoBit) {
  const auto teacher = smallModel(true, makeCpuOps());
  const auto trained = [](const TrainerOptions& options) {
    const auto model = studentOn(makeCpuOps);
    const SmallBatch batch;
    const TeacherForcedBatch view = batch.view();
    Trainer trainer(*model, options);
    for (int i = 0; i < 3; ++i) trainer.step({&view, 1}, 1e-2f, nullptr);
    return allParameters(*model);
  };
  const auto expected = trained({});
  const auto actual = trained(distilledFrom(*teacher, 0.0f));
  CHECK(expected.size() == actual.size());
  CHECK(std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)) == 0);
}

WGQA_TEST(trainStepTellsTheDistanceFromTheTeacher) {
  const auto teacher = smallModel(true, makeCpuOps());
  const auto model = studentOn(makeCpuOps);
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  const auto untaught = studentOn(makeCpuOps);
  Trainer plain(*untaught, {});
  const StepResult without = plain.step({&view, 1}, 1e-2f, nullptr);
  CHECK(!without.distillationLoss.has_value());
  Trainer trainer(*model, distilledFrom(*teacher, 1.0f));
  const StepResult first = trainer.step({&view, 1}, 1e-2f, nullptr);
  CHECK_EQUAL(first.loss, without.loss);
  CHECK(first.distillationLoss.value_or(0.0) > 0.0);
  CHECK(first.scratchBytes > without.scratchBytes);
  for (int i = 0; i < 20; ++i) trainer.step({&view, 1}, 1e-2f, nullptr);
  const StepResult last = trainer.step({&view, 1}, 1e-2f, nullptr);
  CHECK(last.distillationLoss.value_or(1e9) < 0.5 * first.distillationLoss.value_or(0.0));
}

WGQA_TEST(trainRefusesTeachersThatCannotTeach) {
  const auto model = studentOn(makeCpuOps);
  CHECK_THROWS(ErrorCode::invalidArgument, Trainer(*model, distilledFrom(*model, 0.5f)));
  const auto elsewhere = smallModel(true, makeReferenceOps());
  CHECK_THROWS(ErrorCode::invalidArgument, Trainer(*model, distilledFrom(*elsewhere, 0.5f)));
  T5Config config = smallConfig(true);
  config.vocabSize += 1;
  T5Model larger(config, initialT5Parameters(config, 7), makeCpuOps(), DType::float32);
  CHECK_THROWS(ErrorCode::invalidArgument, Trainer(*model, distilledFrom(larger, 0.5f)));
}

WGQA_TEST(trainAbortedTeacherLeavesEverythingAsItWas) {
  const auto teacher = smallModel(true, makeCpuOps());
  const auto model = studentOn(makeCpuOps);
  Trainer trainer(*model, distilledFrom(*teacher, 0.5f));
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  const std::vector<float> before = allParameters(*model);
  const AbortFlag abort = true;
  CHECK_THROWS(ErrorCode::aborted, trainer.step({&view, 1}, 1e-3f, &abort));
  CHECK(allParameters(*model) == before);
  // Nobody holds the teacher's parameters any more.
  const T5Model::ParameterUpdate update(*teacher);
}

// Two models that teach each other, each trained on a thread of its own: nobody waits for ever.
WGQA_TEST(trainModelsMayTeachEachOther) {
  const auto one = smallModel(true, makeReferenceOps());
  const auto other = studentOn(makeReferenceOps);
  const auto train = [](T5Model& model, T5Model& teacher) {
    const SmallBatch batch;
    const TeacherForcedBatch view = batch.view();
    Trainer trainer(model, distilledFrom(teacher, 0.5f));
    for (int i = 0; i < 5; ++i) trainer.step({&view, 1}, 1e-3f, nullptr);
  };
  std::thread thread([&] { train(*one, *other); });
  train(*other, *one);
  thread.join();
  CHECK(one->weightsVersion() > 0 && other->weightsVersion() > 0);
}

}  // namespace
}  // namespace wgqa::test
