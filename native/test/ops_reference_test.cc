// Reference operations that have no gradient to difference, against closed forms and loops written
// out from the definition.
#include <cmath>
#include <limits>

#include "ops/ops.h"
#include "test/harness.h"
#include "test/ops_attention_specs.h"
#include "test/ops_tensors.h"

namespace wgqa::test {
namespace {

ConstTensorView viewOf(const std::vector<float>& values, std::int64_t rows, std::int64_t columns) {
  return {values.data(), DType::float32, {rows, columns}};
}

TensorView viewOf(std::vector<float>& values, std::int64_t rows, std::int64_t columns) {
  return {values.data(), DType::float32, {rows, columns}};
}

std::vector<float> draw(Random& random, std::int64_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

}  // namespace

WGQA_TEST(referenceMatmulIsSumOfProducts) {
  Random random(1);
  constexpr std::int64_t m = 3, k = 5, n = 4;
  const auto a = draw(random, k * m);  // held transposed: a[i][row]
  const auto b = draw(random, k * n);
  std::vector<float> c(m * n, 2.0f);
  makeReferenceOps()->matmul({.a = viewOf(a, k, m).transposed(),
                              .b = viewOf(b, k, n),
                              .c = viewOf(c, m, n),
                              .alpha = 0.5f,
                              .beta = 3.0f});
  for (std::int64_t row = 0; row < m; ++row) {
    for (std::int64_t column = 0; column < n; ++column) {
      double sum = 0.0;
      for (std::int64_t i = 0; i < k; ++i) sum += double{a[i * m + row]} * b[i * n + column];
      CHECK_NEAR(c[row * n + column], 0.5 * sum + 6.0, 1e-6);
    }
  }
}

WGQA_TEST(referenceLinearUsesRowsOfTheWeight) {
  // y = x W^T: each output is the product with one row of the weight.
  const std::vector<float> x = {1, 2, 3};
  const std::vector<float> weight = {1, 0, 0, 0, 1, 0, 1, 1, 1, -1, 2, -3};  // [4, 3]
  std::vector<float> out(4, std::numeric_limits<float>::quiet_NaN());
  const auto ops = makeReferenceOps();
  const auto packed = ops->pack(viewOf(weight, 4, 3), DType::float32);
  CHECK_EQUAL(packed->outFeatures, 4);
  CHECK_EQUAL(packed->inFeatures, 3);
  CHECK_EQUAL(packed->bytes, 48);
  ops->linear({.x = viewOf(x, 1, 3), .weight = packed.get(), .out = viewOf(out, 1, 4)});
  CHECK_EQUAL(out[0], 1.0f);
  CHECK_EQUAL(out[1], 2.0f);
  CHECK_EQUAL(out[2], 6.0f);
  CHECK_EQUAL(out[3], -6.0f);
}

WGQA_TEST(referenceEmbeddingAndItsGradientAreAdjoint) {
  // <gather(table), g> == <table, scatter(g)> for every g: the definition of a transpose.
  Random random(2);
  const std::vector<std::int32_t> ids = {4, 0, 4, 4, 2};
  const auto table = draw(random, 5 * 3);
  const auto grad = draw(random, 5 * 3);
  std::vector<float> out(5 * 3);
  std::vector<float> gradTable(5 * 3, 0.0f);
  const auto ops = makeReferenceOps();
  ops->embedding({.ids = ids, .table = viewOf(table, 5, 3), .out = viewOf(out, 5, 3)});
  ops->embeddingBackward(
      {.ids = ids, .gradOut = viewOf(grad, 5, 3), .gradTable = viewOf(gradTable, 5, 3)});
  double left = 0.0;
  double right = 0.0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    left += double{out[i]} * grad[i];
    right += double{table[i]} * gradTable[i];
  }
  CHECK_NEAR(left, right, 1e-6);
  CHECK_EQUAL(out[0], table[12]);
}

WGQA_TEST(referenceDropoutKeepsTheExpectedShare) {
  constexpr std::int64_t kRows = 100, kColumns = 1000;
  const std::vector<float> ones(kRows * kColumns, 1.0f);
  std::vector<float> out(ones.size());
  const DropoutSpec spec{0.25f, {42, 1}};
  makeReferenceOps()->dropout({.x = viewOf(ones, kRows, kColumns),
                               .residual = {},
                               .dropout = spec,
                               .out = viewOf(out, kRows, kColumns)});
  double kept = 0.0;
  for (const float value : out) {
    CHECK(value == 0.0f || value == static_cast<float>(1.0 / 0.75));
    kept += value != 0.0f;
  }
  // Binomial: five standard deviations of sqrt(0.25 * 0.75 * 1e5) = 137.
  CHECK_NEAR(kept, 75000.0, 685.0);
  const bool firstKept = spec.random.at(0, 0) >= spec.threshold();
  CHECK_EQUAL(out[0] != 0.0f, firstKept);
}

WGQA_TEST(referenceRmsNormDividesByTheRootMeanSquare) {
  const std::vector<float> x = {3.0f, 4.0f, 0.0f, 0.0f};
  const std::vector<float> weight = {1.0f, 2.0f};
  std::vector<float> out(4);
  std::vector<float> inverseRms(2);
  makeReferenceOps()->rmsNorm({.x = viewOf(x, 2, 2),
                               .weight = {weight.data(), DType::float32, {2}},
                               .epsilon = 0.25f,
                               .out = viewOf(out, 2, 2),
                               .inverseRms = {inverseRms.data(), DType::float32, {2}}});
  const double root = std::sqrt(12.75);  // (9 + 16) / 2 + epsilon
  CHECK_NEAR(inverseRms[0], 1.0 / root, 1e-7);
  CHECK_NEAR(out[0], 3.0 / root, 1e-7);
  CHECK_NEAR(out[1], 8.0 / root, 3e-7);
  CHECK_EQUAL(inverseRms[1], 2.0f);  // a row of zeros: 1 / sqrt(epsilon)
  CHECK_EQUAL(out[3], 0.0f);
}

WGQA_TEST(referenceActivationsHaveTheirKnownValues) {
  const std::vector<float> gate = {1.0f, -1.0f};
  const std::vector<float> linear = {2.0f, 3.0f};
  const auto activate = [&](Activation activation) {
    std::vector<float> out(2);
    makeReferenceOps()->gatedActivation({.activation = activation,
                                         .gate = viewOf(gate, 1, 2),
                                         .linear = viewOf(linear, 1, 2),
                                         .dropout = {},
                                         .out = viewOf(out, 1, 2)});
    return out;
  };
  CHECK_EQUAL(activate(Activation::relu)[0], 2.0f);
  CHECK_EQUAL(activate(Activation::relu)[1], 0.0f);
  // PyTorch's gelu of 1 is 0.841345; x - gelu(x) = -gelu(-x).
  CHECK_NEAR(activate(Activation::gelu)[0], 2.0 * 0.841345, 2e-6);
  CHECK_NEAR(activate(Activation::gelu)[1], 3.0 * (0.841345 - 1.0), 3e-6);
  // PyTorch's gelu(approximate="tanh") of 1 is 0.841192; x - gelu(x) = -gelu(-x).
  CHECK_NEAR(activate(Activation::geluTanh)[0], 2.0 * 0.841192, 2e-6);
  CHECK_NEAR(activate(Activation::geluTanh)[1], 3.0 * (0.841192 - 1.0), 3e-6);
  CHECK_NEAR(activate(Activation::silu)[0], 2.0 / (1.0 + std::exp(-1.0)), 2e-7);
  CHECK_NEAR(activate(Activation::silu)[1], -3.0 / (1.0 + std::exp(1.0)), 2e-7);
}

WGQA_TEST(referenceCrossEntropyOfEqualAndOfExtremeLogits) {
  const std::vector<float> logits = {2.0f, 2.0f, 2.0f, 2.0f, 1e4f, -1e4f, -1e4f, -1e4f, 5, 6, 7, 8};
  const std::vector<std::int32_t> labels = {1, 2, kIgnoredLabel};
  std::vector<float> grad(12, 9.0f);
  double lossSum = 1.0;
  makeReferenceOps()->crossEntropy({.logits = viewOf(logits, 3, 4),
                                    .labels = labels,
                                    .gradScale = 2.0f,
                                    .gradLogits = viewOf(grad, 3, 4),
                                    .lossSum = &lossSum});
  CHECK_NEAR(lossSum, 1.0 + std::log(4.0) + 2e4, 1e-9);
  const float expected[] = {0.5f, -1.5f, 0.5f, 0.5f, 2.0f, 0.0f, -2.0f, 0.0f, 0, 0, 0, 0};
  for (std::size_t i = 0; i < grad.size(); ++i) CHECK_EQUAL(grad[i], expected[i]);
}

WGQA_TEST(referenceMergeWeighsHeadsAsItsGranularitySays) {
  // Two heads of one group, headDim 2, dModel 3.
  const std::vector<float> base = {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
  const std::vector<std::int32_t> kvHeadOf = {0, 0};
  const auto check = [&](MergeGranularity granularity, const std::vector<float>& weight,
                         std::int64_t rows, std::int64_t columns,
                         const std::vector<float>& expected) {
    std::vector<float> merged(6);
    makeReferenceOps()->mergeHeads({.granularity = granularity,
                                    .base = {base.data(), DType::float32, {2, 2, 3}},
                                    .weight = {weight.data(), DType::float32, {2, rows, columns}},
                                    .kvHeadOf = kvHeadOf,
                                    .merged = {merged.data(), DType::float32, {1, 2, 3}}});
    for (std::size_t i = 0; i < 6; ++i) CHECK_EQUAL(merged[i], expected[i]);
  };
  check(MergeGranularity::head, {1, 2}, 1, 1, {21, 42, 63, 84, 105, 126});
  check(MergeGranularity::row, {1, 0, 1, 0, 1, 2}, 1, 3, {1, 20, 63, 4, 50, 126});
  check(MergeGranularity::column, {1, 0, 0, 1}, 2, 1, {1, 2, 3, 40, 50, 60});
}

WGQA_TEST(referenceMergeConstraintsWeighHeadsWithinTheirGroup) {
  // Three heads and one, two elements each; the logarithms weigh 1 : 2 : 5.
  const std::vector<std::int32_t> kvHeadOf = {0, 0, 0, 1};
  const auto check = [&](MergeConstraint constraint, const std::vector<float>& raw,
                         const std::vector<double>& expected) {
    std::vector<float> weight(8);
    makeReferenceOps()->constrainMergeWeights(
        {.constraint = constraint,
         .raw = {raw.data(), DType::float32, {4, 1, 2}},
         .kvHeadOf = kvHeadOf,
         .weight = {weight.data(), DType::float32, {4, 1, 2}}});
    for (std::size_t i = 0; i < 8; ++i) CHECK_NEAR(weight[i], expected[i], 1e-7);
  };
  const float two = std::log(2.0f);
  const float five = std::log(5.0f);
  check(MergeConstraint::softmax, {0, 1e4f, two, -1e4f, five, 1e4f, 7, -1e4f},
        {0.125, 0.5, 0.25, 0, 0.625, 0.5, 1, 1});
  check(MergeConstraint::signedUnit, {1, 0, -2, 0, 5, 0, -7, 0},
        {0.125, 0, -0.25, 0, 0.625, 0, -1, 0});
}

WGQA_TEST(referenceAttentionAddsTheBiasOfItsHead) {
  // All dot products are 0, so the bias alone decides: bucket 0 is "here", bucket 1 "one before".
  // Head 0 weighs them 3 : 1, head 1 equally; the first query sees only itself.
  const std::vector<std::int32_t> offsets = {0, 2};
  const std::vector<std::int32_t> kvHeadOf = {0, 1};
  const std::vector<float> q(4, 0.0f);
  const std::vector<float> k = {1, 2, 3, 4};  // [2 tokens, 2 kvHeads, 1]
  const std::vector<float> v = {8, 10, 16, 20};
  std::vector<float> table(8 * 2, 99.0f);
  table[0] = std::log(3.0f);
  table[1] = table[2] = table[3] = 0.0f;
  std::vector<float> out(4);
  AttentionPrefill p;
  p.shape.queries = {offsets};
  p.shape.keys = {offsets};
  p.shape.kvHeadOf = kvHeadOf;
  p.shape.causal = true;
  p.shape.bias = {viewOf(table, 8, 2), false, 16};
  p.q = {q.data(), DType::float32, {2, 2, 1}};
  p.k = {k.data(), DType::float32, {2, 2, 1}};
  p.v = {v.data(), DType::float32, {2, 2, 1}};
  p.out = {out.data(), DType::float32, {2, 2, 1}};
  makeReferenceOps()->attentionPrefill(p);
  CHECK_EQUAL(out[0], 8.0f);
  CHECK_EQUAL(out[1], 10.0f);
  CHECK_NEAR(out[2], 0.25 * 8 + 0.75 * 16, 1e-6);
  CHECK_NEAR(out[3], 0.5 * 10 + 0.5 * 20, 1e-6);
}

WGQA_TEST(referenceAttentionOfOneKeyIsItsValue) {
  const std::vector<std::int32_t> offsets = {0, 1};
  const std::vector<std::int32_t> kvHeadOf = {0, 0};
  const std::vector<float> q = {1, 2, 3, 4};
  const std::vector<float> k = {5, 6};
  const std::vector<float> v = {7, 8};
  std::vector<float> out(4);
  std::vector<float> logSumExp(2);
  AttentionPrefill p;
  p.shape.queries = {offsets};
  p.shape.keys = {offsets};
  p.shape.kvHeadOf = kvHeadOf;
  p.shape.scale = 0.5f;
  p.q = {q.data(), DType::float32, {1, 2, 2}};
  p.k = {k.data(), DType::float32, {1, 1, 2}};
  p.v = {v.data(), DType::float32, {1, 1, 2}};
  p.out = {out.data(), DType::float32, {1, 2, 2}};
  p.logSumExp = {logSumExp.data(), DType::float32, {1, 2}};
  makeReferenceOps()->attentionPrefill(p);
  CHECK_EQUAL(out[0], 7.0f);
  CHECK_EQUAL(out[3], 8.0f);
  CHECK_EQUAL(logSumExp[0], 8.5f);   // (1*5 + 2*6) / 2
  CHECK_EQUAL(logSumExp[1], 19.5f);  // (3*5 + 4*6) / 2
}

WGQA_TEST(referenceDecodeEqualsTheLastRowOfPrefill) {
  // Append the keys and values to shuffled blocks, decode the last query: the causal prefill's row.
  constexpr std::int64_t kTokens = 7, kHeads = 4, kKvHeads = 2, kHeadDim = 3, kBlockTokens = 3;
  Random random(3);
  const auto map = equalGroups(kHeads, kKvHeads);
  const auto q = draw(random, kTokens * kHeads * kHeadDim);
  const auto k = draw(random, kTokens * kKvHeads * kHeadDim);
  const auto v = draw(random, kTokens * kKvHeads * kHeadDim);
  const auto table = draw(random, 8 * kHeads);
  const RelativeBias bias{viewOf(table, 8, kHeads), false, 5};
  const ConstTensorView keys{k.data(), DType::float32, {kTokens, kKvHeads, kHeadDim}};
  const ConstTensorView values{v.data(), DType::float32, {kTokens, kKvHeads, kHeadDim}};
  const std::vector<std::int32_t> offsets = {0, kTokens};
  std::vector<float> whole(q.size());
  const auto ops = makeReferenceOps();
  AttentionPrefill prefill;
  prefill.shape.queries = {offsets};
  prefill.shape.keys = {offsets};
  prefill.shape.kvHeadOf = map.kvHeadOf;
  prefill.shape.causal = true;
  prefill.shape.bias = bias;
  prefill.q = {q.data(), DType::float32, {kTokens, kHeads, kHeadDim}};
  prefill.k = keys;
  prefill.v = values;
  prefill.out = {whole.data(), DType::float32, {kTokens, kHeads, kHeadDim}};
  ops->attentionPrefill(prefill);

  const std::vector<std::int32_t> blockTable = {2, 0, 3};
  const std::vector<std::int32_t> tableOffsets = {0, 3};
  const std::vector<std::int32_t> lengths = {kTokens};
  std::vector<std::int64_t> slots;
  for (std::int64_t i = 0; i < kTokens; ++i) {
    slots.push_back(blockTable[i / kBlockTokens] * kBlockTokens + i % kBlockTokens);
  }
  std::vector<float> keyBlocks(4 * kKvHeads * kBlockTokens * kHeadDim,
                               std::numeric_limits<float>::quiet_NaN());
  std::vector<float> valueBlocks = keyBlocks;
  const TensorView keyCache{
      keyBlocks.data(), DType::float32, {4, kKvHeads, kHeadDim, kBlockTokens}};
  const TensorView valueCache{
      valueBlocks.data(), DType::float32, {4, kKvHeads, kBlockTokens, kHeadDim}};
  ops->kvAppend({.k = keys, .v = values, .slots = slots, .keys = keyCache, .values = valueCache});
  std::vector<float> last(kHeads * kHeadDim);
  const std::size_t lastRow = q.size() - last.size();
  ops->attentionDecode({.cache = {.keys = keyCache,
                                  .values = valueCache,
                                  .blockTable = blockTable,
                                  .tableOffsets = tableOffsets,
                                  .lengths = lengths},
                        .kvHeadOf = map.kvHeadOf,
                        .bias = bias,
                        .q = {q.data() + lastRow, DType::float32, {1, kHeads, kHeadDim}},
                        .out = {last.data(), DType::float32, {1, kHeads, kHeadDim}}});
  for (std::size_t i = 0; i < last.size(); ++i) CHECK_EQUAL(last[i], whole[lastRow + i]);
}

WGQA_TEST(referenceAdamWFirstStepMovesByTheLearningRate) {
  // At step 1 the corrected moments are g and g^2: the update is lr * g / (|g| + epsilon).
  std::vector<float> value = {1.0f, -2.0f, 0.5f};
  const std::vector<float> grad = {0.3f, -40.0f, 1e-8f};
  std::vector<float> first(3, 0.0f);
  std::vector<float> second(3, 0.0f);
  const AdamW::Parameter parameter{viewOf(value, 1, 3), viewOf(grad, 1, 3), viewOf(first, 1, 3),
                                   viewOf(second, 1, 3), 0.5f};
  makeReferenceOps()->adamW({.parameters = {&parameter, 1}, .learningRate = 0.1f});
  CHECK_NEAR(value[0], 1.0 * 0.95 - 0.1, 1e-7);
  CHECK_NEAR(value[1], -2.0 * 0.95 + 0.1, 2e-7);
  CHECK_NEAR(value[2], 0.5 * 0.95 - 0.05, 1e-7);  // |g| = epsilon: half a step
  CHECK_NEAR(first[1], -4.0, 1e-6);
  CHECK_NEAR(second[1], 1.6, 1e-4);
}

WGQA_TEST(referenceAdafactorOfARankOneGradientMovesBySign) {
  // Squares of rank one are factored without loss, so the first update is g / |g|, of RMS 1.
  std::vector<float> value(6, 2.0f);
  const std::vector<float> grad = {1.0f, -2.0f, 4.0f, -3.0f, 6.0f, -12.0f};
  std::vector<float> rowMoment(2, 9.0f);
  std::vector<float> columnMoment(3, 9.0f);
  Adafactor::Parameter parameter;
  parameter.value = viewOf(value, 2, 3);
  parameter.grad = viewOf(grad, 2, 3);
  parameter.rowMoment = {rowMoment.data(), DType::float32, {2}};
  parameter.columnMoment = {columnMoment.data(), DType::float32, {3}};
  parameter.weightDecay = 0.1f;
  // The learning rate is 0.25 * RMS(value) = 0.5; decay at step 1 is 0, so old moments vanish.
  makeReferenceOps()->adafactor(
      {.parameters = {&parameter, 1}, .learningRate = 0.25f, .scaleByParameter = true});
  for (std::size_t i = 0; i < value.size(); ++i) {
    CHECK_NEAR(value[i], 2.0 * (1.0 - 0.5 * 0.1) - (grad[i] > 0 ? 0.5 : -0.5), 1e-6);
  }
  CHECK_NEAR(rowMoment[0], 7.0, 1e-6);      // (1 + 4 + 16) / 3
  CHECK_NEAR(columnMoment[2], 80.0, 1e-5);  // (16 + 144) / 2
}

WGQA_TEST(referenceAdafactorClipsTheUpdate) {
  // Unfactored with an old moment of 0 and decay 1 - 16^-0.5 = 0.75: the moment is g^2 / 4, the
  // update 2 everywhere, its RMS 2, clipped to 1.
  std::vector<float> value(4, 1.0f);
  const std::vector<float> grad = {3.0f, 3.0f, 3.0f, 3.0f};
  std::vector<float> moment(4, 0.0f);
  Adafactor::Parameter parameter;
  parameter.value = viewOf(value, 1, 4);
  parameter.grad = viewOf(grad, 1, 4);
  parameter.moment = viewOf(moment, 1, 4);
  makeReferenceOps()->adafactor(
      {.parameters = {&parameter, 1}, .learningRate = 0.125f, .decayRate = -0.5f, .step = 16});
  for (const float v : value) CHECK_NEAR(v, 0.875, 1e-6);
  for (const float v : moment) CHECK_NEAR(v, 2.25, 1e-6);
}

WGQA_TEST(referenceSquaredNormAddsUp) {
  const std::vector<float> a = {3.0f, 4.0f};
  const std::vector<float> b = {12.0f};
  const ConstTensorView views[] = {viewOf(a, 1, 2), viewOf(b, 1, 1)};
  CHECK_EQUAL(makeReferenceOps()->squaredNorm(views), 169.0);
}

}  // namespace wgqa::test
