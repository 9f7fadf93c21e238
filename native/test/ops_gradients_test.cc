// The reference is checked by itself: gradients against central differences of its own forward
// functions in double, everything else against closed forms and hand-written loops.
#include <algorithm>
#include <cmath>
#include <functional>

#include "ops/reference/functions.h"
#include "test/harness.h"
#include "test/ops_attention_specs.h"

namespace wgqa::test {
namespace {

// The step balances truncation (step^2) and rounding (2^-53 / step): both near 1e-10.
constexpr double kStep = 1e-5;
constexpr double kTolerance = 1e-8;

Wide draw(Random& random, std::int64_t count, double deviation = 1.0) {
  Wide values(count);
  for (double& value : values) value = deviation * random.normal();
  return values;
}

double dot(const Wide& a, const Wide& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double largest(const Wide& values) {
  double result = 0.0;
  for (const double value : values) result = std::max(result, std::abs(value));
  return result;
}

// d loss / d x, element by element. `loss` reads x where it lies.
Wide differences(Wide& x, const std::function<double()>& loss) {
  Wide result(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i];
    x[i] = kept + kStep;
    const double above = loss();
    x[i] = kept - kStep;
    result[i] = (above - loss()) / (2.0 * kStep);
    x[i] = kept;
  }
  return result;
}

void checkGradient(const std::string& name, Wide& x, const Wide& gradient,
                   const std::function<double()>& loss) {
  const Wide expected = differences(x, loss);
  const double tolerance = kTolerance * std::max(1.0, largest(expected));
  CHECK_EQUAL(gradient.size(), expected.size());
  CHECK(x.empty() || largest(expected) > 0.0);
  for (std::size_t i = 0; i < expected.size() && i < gradient.size(); ++i) {
    if (std::abs(gradient[i] - expected[i]) <= tolerance) continue;
    fail(name + "[" + std::to_string(i) + "]: gradient " + describe(gradient[i]) +
         ", central difference " + describe(expected[i]));
  }
}

void checkAttentionGradients(const PrefillSpec& spec, std::uint64_t seed) {
  Random random(seed);
  const auto queries = queryOffsets(spec.sequences);
  const auto keys = keyOffsets(spec.sequences);
  reference::AttentionInputs in;
  in.shape.queries = {queries};
  in.shape.keys = {keys};
  in.shape.kvHeadOf = spec.map.kvHeadOf;
  in.shape.scale = spec.scale;
  in.shape.causal = spec.causal;
  in.shape.bias = {{}, spec.bias.bidirectional, spec.bias.maxDistance};
  in.shape.dropout = {spec.rate, {7, 11}};
  in.kvHeads = spec.map.kvHeads();
  in.headDim = spec.headDim;
  in.q = draw(random, queries.back() * spec.map.heads() * spec.headDim, 0.7);
  in.k = draw(random, keys.back() * in.kvHeads * spec.headDim, 0.7);
  in.v = draw(random, keys.back() * in.kvHeads * spec.headDim);
  in.bias = draw(random, spec.bias.buckets * spec.map.heads());
  in.buckets = spec.bias.buckets;
  const Wide gradOut = draw(random, static_cast<std::int64_t>(in.q.size()));
  const auto loss = [&] { return dot(reference::attention(in).out, gradOut); };
  const auto gradients = reference::attentionBackward(in, gradOut);
  const int before = failuresOfRunningTest();
  checkGradient("q", in.q, gradients.q, loss);
  checkGradient("k", in.k, gradients.k, loss);
  checkGradient("v", in.v, gradients.v, loss);
  checkGradient("bias", in.bias, gradients.bias, loss);
  if (failuresOfRunningTest() > before) note("in " + nameOf(spec));
}

}  // namespace

WGQA_TEST(referenceRmsNormGradient) {
  for (const std::int64_t dModel : {1, 5, 8}) {
    Random random(1);
    Wide x = draw(random, 3 * dModel);
    Wide weight = draw(random, dModel);
    const Wide gradOut = draw(random, 3 * dModel);
    // A large epsilon: with dModel 1 and a small one the gradient of x would vanish.
    constexpr double kEpsilon = 0.1;
    const auto forward = reference::rmsNorm(x, weight, kEpsilon);
    const auto gradients = reference::rmsNormBackward(x, weight, forward.inverseRms, gradOut);
    const auto loss = [&] { return dot(reference::rmsNorm(x, weight, kEpsilon).out, gradOut); };
    checkGradient("x", x, gradients.x, loss);
    checkGradient("weight", weight, gradients.weight, loss);
  }
}

WGQA_TEST(referenceGatedActivationGradient) {
  for (const auto activation :
       {Activation::relu, Activation::gelu, Activation::geluTanh, Activation::silu}) {
    for (const bool hasLinear : {false, true}) {
      for (const float rate : {0.0f, 0.4f}) {
        Random random(2);
        constexpr std::int64_t kColumns = 7;
        reference::GatedInputs in{activation,
                                  draw(random, 5 * kColumns, 2.0),
                                  hasLinear ? draw(random, 5 * kColumns) : Wide(),
                                  {rate, {3, 4}},
                                  kColumns};
        const Wide gradOut = draw(random, 5 * kColumns);
        const auto gradients = reference::gatedActivationBackward(in, gradOut);
        const auto loss = [&] { return dot(reference::gatedActivation(in), gradOut); };
        checkGradient("gate", in.gate, gradients.gate, loss);
        checkGradient("linear", in.linear, gradients.linear, loss);
      }
    }
  }
}

WGQA_TEST(referenceAttentionGradient) {
  const auto self = selfSequences({1, 5, 3});
  const std::vector<SequenceSpec> cross = {{2, 5}, {4, 1}};
  const BiasSpec bothWays{4, 6, true};
  const BiasSpec oneWay{4, 6, false};
  const std::vector<PrefillSpec> specs = {
      {self, equalGroups(2, 2), 3},
      {self, equalGroups(4, 2), 3, true, oneWay, 0.3f},
      {self, {{0, 0, 0, 1, 2}}, 2, false, bothWays, 0.0f, 0.5f},
      {cross, equalGroups(3, 1), 2, false, {}, 0.3f},
      {{{2, 6}, {3, 3}}, equalGroups(2, 1), 3, true, bothWays, 0.2f},
      {{{3, 2}, {2, 0}, {1, 4}}, equalGroups(2, 2), 2, true, oneWay},
  };
  for (const PrefillSpec& spec : specs) checkAttentionGradients(spec, 3);
}

WGQA_TEST(referenceAttentionGradientOfRandomShapes) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Random random(seed);
    PrefillSpec spec = randomPrefill(random);
    // Small enough to take a difference of every element.
    for (auto& sequence : spec.sequences) {
      sequence = {sequence.queries % 4, sequence.keys % 6};
    }
    spec.sequences.push_back({1, 2});
    spec.headDim = 2;
    checkAttentionGradients(spec, seed);
  }
}

WGQA_TEST(referenceMergeGradient) {
  for (const auto granularity :
       {MergeGranularity::head, MergeGranularity::row, MergeGranularity::column}) {
    Random random(4);
    const std::vector<std::int32_t> kvHeadOf = {0, 0, 0, 1, 2, 2};
    reference::MergeInputs in;
    in.granularity = granularity;
    in.kvHeadOf = kvHeadOf;
    in.kvHeads = 3;
    in.headDim = 3;
    in.dModel = 5;
    in.base = draw(random, 6 * 3 * 5);
    const std::int64_t perHead = granularity == MergeGranularity::head  ? 1
                                 : granularity == MergeGranularity::row ? in.dModel
                                                                        : in.headDim;
    in.weight = draw(random, 6 * perHead);
    const Wide gradMerged = draw(random, 3 * 3 * 5);
    const auto gradients = reference::mergeHeadsBackward(in, gradMerged);
    const auto loss = [&] { return dot(reference::mergeHeads(in), gradMerged); };
    checkGradient("base", in.base, gradients.base, loss);
    checkGradient("weight", in.weight, gradients.weight, loss);
  }
}

WGQA_TEST(referenceMergeConstraintGradient) {
  for (const auto constraint : {MergeConstraint::softmax, MergeConstraint::signedUnit}) {
    Random random(6);
    const std::vector<std::int32_t> kvHeadOf = {0, 0, 0, 1, 2, 2};
    constexpr std::int64_t kElements = 5;
    reference::MergeConstraintInputs in{constraint, kvHeadOf, kElements,
                                        draw(random, 6 * kElements, 2.0)};
    const Wide gradWeight = draw(random, 6 * kElements);
    const Wide gradient = reference::constrainMergeWeightsBackward(
        in, reference::constrainMergeWeights(in), gradWeight);
    checkGradient("raw", in.raw, gradient,
                  [&] { return dot(reference::constrainMergeWeights(in), gradWeight); });
  }
}

WGQA_TEST(referenceCrossEntropyGradient) {
  Random random(5);
  constexpr std::int64_t kVocab = 11;
  const std::vector<std::int32_t> labels = {3, kIgnoredLabel, 0, 10};
  Wide logits = draw(random, 4 * kVocab, 3.0);
  const auto gradient = reference::crossEntropy(logits, labels, kVocab).gradLogits;
  checkGradient("logits", logits, gradient,
                [&] { return reference::crossEntropy(logits, labels, kVocab).sum; });
}

WGQA_TEST(referenceDistilledCrossEntropyGradient) {
  constexpr std::int64_t kVocab = 11;
  const std::vector<std::int32_t> labels = {3, kIgnoredLabel, 0, 10};
  for (const double weight : {0.0, 0.3, 1.0}) {
    for (const double temperature : {0.5, 1.0, 3.0}) {
      Random random(6);
      Wide logits = draw(random, 4 * kVocab, 3.0);
      const Wide teacher = draw(random, 4 * kVocab, 3.0);
      const reference::Distillation p{kVocab, weight, temperature};
      const auto result = reference::distilledCrossEntropy(logits, teacher, labels, p);
      checkGradient("logits", logits, result.gradLogits, [&] {
        const auto at = reference::distilledCrossEntropy(logits, teacher, labels, p);
        return (1.0 - weight) * at.crossEntropy + weight * at.distillation;
      });
      CHECK_EQUAL(result.crossEntropy, reference::crossEntropy(logits, labels, kVocab).sum);
      CHECK(result.distillation > 0.0);
    }
  }
}

WGQA_TEST(referenceDivergenceIsThatOfTwoDistributions) {
  // softmax of log(p) is p: KL(p || q) by hand, and with temperature 2 that of the square roots.
  const Wide student = {std::log(0.5), std::log(0.25), std::log(0.25)};
  const Wide teacher = {std::log(0.8), std::log(0.1), std::log(0.1)};
  const std::vector<std::int32_t> labels = {0};
  const auto result = reference::distilledCrossEntropy(student, teacher, labels, {3, 1.0, 1.0});
  CHECK_NEAR(result.distillation, 0.8 * std::log(1.6) + 0.2 * std::log(0.4), 1e-12);
  const auto warm = reference::distilledCrossEntropy(student, teacher, labels, {3, 1.0, 2.0});
  const double ownSum = std::sqrt(0.5) + 1.0;
  const double teacherSum = std::sqrt(0.8) + 2.0 * std::sqrt(0.1);
  double divergence = 0.0;
  for (std::size_t i = 0; i < 3; ++i) {
    const double p = std::exp(teacher[i] / 2.0) / teacherSum;
    divergence += p * std::log(p * ownSum / std::exp(student[i] / 2.0));
  }
  CHECK_NEAR(warm.distillation, 4.0 * divergence, 1e-12);
  const auto same = reference::distilledCrossEntropy(teacher, teacher, labels, {3, 1.0, 2.0});
  CHECK_EQUAL(same.distillation, 0.0);
}

}  // namespace wgqa::test
