#include <algorithm>
#include <cmath>
#include <iterator>

#include "ops/reference/functions.h"
#include "test/ops_attention_specs.h"
#include "test/ops_table.h"

namespace wgqa::test {
namespace {

// The inputs of one call; owns the spans that its AttentionShape points to.
struct Inputs {
  std::vector<std::int32_t> queries;
  std::vector<std::int32_t> keys;
  AttentionShape shape;
  ConstTensorView q;
  ConstTensorView k;
  ConstTensorView v;
  TensorSpec querySpec;
  TensorSpec keySpec;
};

void makeInputs(CaseTensors& tensors, const PrefillSpec& spec, Inputs& inputs) {
  inputs.queries = queryOffsets(spec.sequences);
  inputs.keys = keyOffsets(spec.sequences);
  inputs.shape.queries = {inputs.queries};
  inputs.shape.keys = {inputs.keys};
  inputs.shape.firstPositions = spec.firstPositions;
  inputs.shape.kvHeadOf = spec.map.kvHeadOf;
  inputs.shape.scale = spec.scale;
  inputs.shape.causal = spec.causal;
  inputs.shape.bias = makeBias(tensors, spec.bias, spec.map.heads());
  inputs.shape.dropout = {spec.rate, {99, 0x500000001u}};
  inputs.querySpec = {
      spec.input, {inputs.queries.back(), spec.map.heads(), spec.headDim}, 0, spec.aligned};
  inputs.keySpec = {
      spec.input, {inputs.keys.back(), spec.map.kvHeads(), spec.headDim}, 0, spec.aligned};
  const Fill fill = spec.integerLimit > 0 ? integers(spec.integerLimit)
                                          : normal(std::sqrt(2.0) / std::pow(spec.headDim, 0.25));
  inputs.q = tensors.input("q", inputs.querySpec, fill);
  inputs.k = tensors.input("k", inputs.keySpec, fill);
  inputs.v = tensors.input("v", inputs.keySpec, normal());
}

// As `spec`, of another type.
TensorSpec ofType(DType dtype, TensorSpec spec) {
  spec.dtype = dtype;
  return spec;
}

ComputeNeeds needsOf(const PrefillSpec& spec) {
  return {.dtype = spec.out, .headDim = spec.headDim, .attentionInput = spec.input};
}

// A 16-bit input has probabilities and the scores' gradients rounded to its type before they are
// multiplied: each by up to half a unit in the last place, whatever the result's type. A 16-bit
// result is rounded again.
double slackOfRounding(const PrefillSpec& spec) {
  if (spec.input == DType::float32) return 1.0;
  return std::max(2.0, toleranceOf(spec.input) / toleranceOf(spec.out));
}

OpCase forwardCase(const PrefillSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    Inputs in;
    makeInputs(tensors, spec, in);
    ops.attentionPrefill(
        {.shape = in.shape,
         .q = in.q,
         .k = in.k,
         .v = in.v,
         .out = tensors.output("out", ofType(spec.out, in.querySpec)),
         .logSumExp =
             spec.keepsLogSumExp
                 ? tensors.output("logSumExp", float32Of({in.queries.back(), spec.map.heads()}))
                 : TensorView()});
  };
  return {.name = nameOf(spec), .run = run, .needs = needsOf(spec), .slack = slackOfRounding(spec)};
}

// gradOut . out, subtracted from every score's gradient, has the rounding of a bfloat16 out once
// more. Beside a bfloat16 input, a float32 gradOut is rounded, too. Both are sums over headDim,
// larger than the gradients of queries that see few keys, which are small differences of them.
double slackOfGradients(const PrefillSpec& spec) {
  if (spec.input == DType::bfloat16) return 4.0 * slackOfRounding(spec);
  return spec.out == DType::bfloat16 ? 4.0 : 1.0;
}

// `spec.out` is the type of the gradients, and of the output that they are taken from.
OpCase backwardCase(const PrefillSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    Inputs in;
    makeInputs(tensors, spec, in);
    const auto& bias = in.shape.bias;
    const auto forward = reference::attention(
        {in.shape, spec.map.kvHeads(), spec.headDim, tensors.values(in.q), tensors.values(in.k),
         tensors.values(in.v), tensors.values(bias.table), spec.bias.buckets});
    ops.attentionPrefillBackward(
        {.shape = in.shape,
         .q = in.q,
         .k = in.k,
         .v = in.v,
         .out = tensors.input("out", ofType(spec.out, in.querySpec), forward.out),
         .logSumExp = tensors.input("logSumExp", float32Of({in.queries.back(), spec.map.heads()}),
                                    forward.logSumExp),
         .gradOut = tensors.input("gradOut", ofType(spec.gradOut, in.querySpec), normal()),
         .gradQ = tensors.output("gradQ", ofType(spec.out, in.querySpec)),
         .gradK = tensors.output("gradK", ofType(spec.out, in.keySpec)),
         .gradV = tensors.output("gradV", ofType(spec.out, in.keySpec)),
         .gradBiasTable =
             bias.given()
                 ? tensors.update("gradBiasTable", float32Of({spec.bias.buckets, spec.map.heads()}),
                                  normal())
                 : TensorView()});
  };
  return {.name = nameOf(spec),
          .run = run,
          .needs = needsOf(spec),
          .slack = slackOfGradients(spec),
          // A query that sees one key has gradient 0: a difference of equal numbers of this size.
          .magnitude = 1.0};
}

// Without a bias: its gradient is float32, and no bound of that type holds beside a rounded `out`.
PrefillSpec inBFloat16(PrefillSpec spec) {
  spec.out = DType::bfloat16;
  spec.bias = {};
  return spec;
}

constexpr BiasSpec kCausalBias{32, 128, false};
constexpr BiasSpec kBothWaysBias{32, 128, true};
constexpr BiasSpec kShortBias{8, 16, true};

// Cases that forward and backward share.
std::vector<PrefillSpec> sharedSpecs() {
  const auto mixed = selfSequences({1, 130, 2, 17, 64, 65, 1});
  const std::vector<SequenceSpec> cross = {{1, 130}, {17, 2}, {65, 64}, {2, 1}, {3, 17}};
  std::vector<PrefillSpec> specs = {
      {selfSequences({1}), equalGroups(1, 1), 8},
      {mixed, equalGroups(4, 4), 24, true, kCausalBias},
      {mixed, equalGroups(6, 2), 32, false, kBothWaysBias},
      {mixed, {{0, 0, 0, 1, 2, 2}}, 40, true, kCausalBias, 0.1f},
      {mixed, equalGroups(6, 1), 64, true, {}, 0.5f, 0.125f},
      {cross, equalGroups(4, 2), 64, false, {}, 0.1f},
      {cross, {{0, 1, 1, 1, 1}}, 80, true, kShortBias},
      {selfSequences({65}), equalGroups(3, 3), 128, false, kShortBias, 0.1f},
      // Far beyond the largest distance, before and after; chunks behind a long prefix.
      {{{300, 300}, {1, 1}}, equalGroups(2, 1), 8, false, kShortBias},
      {{{3, 1000}, {2, 2}}, equalGroups(2, 2), 16, true, {8, 16, false}},
      // Queries that see no key: more queries than keys, no keys at all; a sequence of no queries.
      {{{5, 3}, {4, 0}, {0, 7}, {1, 1}}, equalGroups(2, 1), 32, true, kCausalBias, 0.1f},
      {{{4, 0}, {0, 0}, {2, 3}}, equalGroups(2, 2), 24, false},
  };
  for (const std::int64_t headDim : {8, 24, 32, 40, 64, 80, 128}) {
    specs.push_back({selfSequences({17, 33}), equalGroups(4, 2), headDim, true, kCausalBias, 0.1f});
  }
  return specs;
}

// bfloat16 queries, keys and values, around the borders of the tensor cores' tiles. Their results
// are float32 here, for the bias's gradient beside them; see inBFloat16().
std::vector<PrefillSpec> tensorSpecs() {
  const std::vector<SequenceSpec> cross = {{1, 130}, {17, 2}, {65, 64}, {2, 1}, {3, 17}};
  const BiasSpec shortCausal{8, 16, false};
  std::vector<PrefillSpec> specs = {
      {selfSequences({1, 15, 16, 17}), equalGroups(4, 2), 64, true, kCausalBias},
      {selfSequences({63, 64, 65}), equalGroups(2, 2), 64, false, kBothWaysBias, 0.0f, 0.125f},
      {selfSequences({127, 128, 129}), equalGroups(2, 1), 64, true, {}, 0.1f},
      {selfSequences({200}), equalGroups(1, 1), 128, true, shortCausal, 0.1f},
      {selfSequences({31, 17}), equalGroups(2, 1), 128, false, kShortBias},
      {cross, {{0, 1, 1}}, 40, false, kShortBias, 0.1f},
      // Far beyond the largest distance, before and after.
      {selfSequences({300}), equalGroups(1, 1), 8, false, kShortBias},
      {{{3, 260}, {2, 2}}, equalGroups(2, 2), 16, true, shortCausal},
      // More tiles than are under way at once.
      {{{140, 600}}, equalGroups(2, 1), 64, false, kBothWaysBias},
      // Queries that see no key, and sequences of no queries.
      {{{5, 3}, {4, 0}, {0, 7}, {1, 1}}, equalGroups(2, 1), 32, true, kCausalBias, 0.1f},
      // Not in whole chunks of 16 bytes.
      {selfSequences({17, 3}), equalGroups(2, 1), 20, true, kCausalBias, 0.1f},
  };
  for (PrefillSpec& spec : specs) {
    spec.input = DType::bfloat16;
    spec.aligned = true;
  }
  PrefillSpec misaligned = specs[0];
  misaligned.aligned = false;
  specs.push_back(misaligned);
  return specs;
}

std::vector<OpCase> tensorForwardCases() {
  std::vector<OpCase> cases;
  for (PrefillSpec& spec : tensorSpecs()) {
    spec.out = DType::bfloat16;
    cases.push_back(forwardCase(spec));
    spec.input = DType::float16;
    spec.out = DType::float16;
    cases.push_back(forwardCase(spec));
    spec.rate = 0.0f;  // nothing is trained in float16: only without dropout is it on tensor cores
    cases.push_back(forwardCase(spec));
    spec.out = DType::float32;
    cases.push_back(forwardCase(spec));
  }
  // Scores whose largest so far is left far behind, again and again.
  for (const std::int64_t headDim : {64, 128}) {
    PrefillSpec large{{{65, 1100}}, equalGroups(1, 1), headDim};
    large.integerLimit = 20;
    large.input = DType::bfloat16;
    large.aligned = true;
    cases.push_back(forwardCase(large));
  }
  PrefillSpec some{{{3, 130}, {65, 200}, {1, 67}, {17, 17}, {0, 9}, {64, 64}},
                   {{0, 1, 1}},
                   64,
                   false,
                   kBothWaysBias};
  some.firstPositions = {0, 100, 66, 0, 5, 0};
  some.input = DType::bfloat16;
  some.aligned = true;
  some.keepsLogSumExp = false;
  cases.push_back(forwardCase(some));
  some.input = DType::float16;
  cases.push_back(forwardCase(some));
  some.out = DType::bfloat16;  // of another type than the tensor cores write
  cases.push_back(forwardCase(some));
  some.out = DType::float32;
  some.causal = true;
  some.bias = {8, 16, false};
  cases.push_back(forwardCase(some));
  some.input = DType::bfloat16;
  cases.push_back(forwardCase(some));
  return cases;
}

std::vector<OpCase> tensorBackwardCases() {
  std::vector<OpCase> cases;
  for (PrefillSpec& spec : tensorSpecs()) {
    cases.push_back(backwardCase(spec));
    PrefillSpec rounded = inBFloat16(spec);
    cases.push_back(backwardCase(rounded));
  }
  PrefillSpec rounded = inBFloat16(tensorSpecs()[0]);
  rounded.gradOut = DType::bfloat16;
  cases.push_back(backwardCase(rounded));
  PrefillSpec wide = tensorSpecs()[0];
  wide.gradOut = DType::bfloat16;
  cases.push_back(backwardCase(wide));
  return cases;
}

std::vector<OpCase> forwardOnlyCases() {
  const auto mixed = selfSequences({1, 130, 2, 17});
  PrefillSpec bfloat{mixed, equalGroups(4, 2), 64, true, kCausalBias};
  bfloat.out = DType::bfloat16;
  PrefillSpec inference{mixed, equalGroups(4, 1), 64};
  inference.keepsLogSumExp = false;
  PrefillSpec large{mixed, equalGroups(4, 2), 64, true, kCausalBias};
  large.integerLimit = 20;  // scores of up to 25,600, which must not swallow the bias
  return {forwardCase(bfloat), forwardCase(inference), forwardCase(large)};
}

// Some of a sequence's queries: its first, middle, last, all of them, none.
std::vector<OpCase> partialCases() {
  const std::vector<SequenceSpec> some = {{3, 130}, {65, 200}, {1, 67}, {17, 17}, {0, 9}, {64, 64}};
  const std::vector<std::int32_t> places = {0, 100, 66, 0, 5, 0};
  std::vector<PrefillSpec> specs = {
      {some, equalGroups(4, 4), 64, false, kBothWaysBias},
      {some, equalGroups(4, 2), 24, false, kShortBias},
      {some, {{0, 0, 1, 1, 1}}, 40, true, kCausalBias, 0.1f},
      {some, equalGroups(2, 1), 8, true, {}},
      {some, equalGroups(2, 2), 80, false, {}, 0.0f, 0.25f},
  };
  std::vector<OpCase> cases;
  for (PrefillSpec& spec : specs) {
    spec.firstPositions = places;
    cases.push_back(forwardCase(spec));
  }
  return cases;
}

// Few, since the CPU backend declines them.
void takeSomeOnTensorCores(PrefillSpec& spec, Random& random) {
  if (random.integer(0, 3) != 0) return;
  spec.input = DType::bfloat16;
  spec.aligned = random.integer(0, 3) != 0;
  spec.gradOut = random.oneOf({DType::float32, DType::bfloat16});
}

}  // namespace

std::vector<OpRow> prefillRows() {
  OpRow forward{.op = "attentionPrefill",
                .sameBitsForAnyThreads = true,
                .cases = forwardOnlyCases(),
                .randomCase = [](Random& random) {
                  PrefillSpec spec =
                      random.coin() ? randomPartialPrefill(random) : randomPrefill(random);
                  spec.out = random.oneOf({DType::float32, DType::bfloat16});
                  spec.keepsLogSumExp = random.coin();
                  takeSomeOnTensorCores(spec, random);
                  if (spec.input == DType::bfloat16 && random.coin()) {
                    spec.input = DType::float16;
                    spec.rate = 0.0f;
                  }
                  return forwardCase(spec);
                }};
  OpRow backward{.op = "attentionPrefillBackward",
                 .sameBitsForAnyThreads = true,
                 .cases = {},
                 .randomCase = [](Random& random) {
                   PrefillSpec spec = randomPrefill(random);
                   if (random.coin()) spec = inBFloat16(spec);
                   takeSomeOnTensorCores(spec, random);
                   return backwardCase(spec);
                 }};
  std::ranges::move(partialCases(), std::back_inserter(forward.cases));
  std::ranges::move(tensorForwardCases(), std::back_inserter(forward.cases));
  std::ranges::move(tensorBackwardCases(), std::back_inserter(backward.cases));
  for (const PrefillSpec& spec : sharedSpecs()) {
    forward.cases.push_back(forwardCase(spec));
    backward.cases.push_back(backwardCase(spec));
    backward.cases.push_back(backwardCase(inBFloat16(spec)));
  }
  return {forward, backward};
}

}  // namespace wgqa::test
