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
  inputs.querySpec = float32Of({inputs.queries.back(), spec.map.heads(), spec.headDim});
  inputs.keySpec = float32Of({inputs.keys.back(), spec.map.kvHeads(), spec.headDim});
  const Fill fill = spec.integerLimit > 0 ? integers(spec.integerLimit)
                                          : normal(std::sqrt(2.0) / std::pow(spec.headDim, 0.25));
  inputs.q = tensors.input("q", inputs.querySpec, fill);
  inputs.k = tensors.input("k", inputs.keySpec, fill);
  inputs.v = tensors.input("v", inputs.keySpec, normal());
}

OpCase forwardCase(const PrefillSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    Inputs in;
    makeInputs(tensors, spec, in);
    const TensorSpec outSpec{spec.out, in.querySpec.shape};
    ops.attentionPrefill(
        {.shape = in.shape,
         .q = in.q,
         .k = in.k,
         .v = in.v,
         .out = tensors.output("out", outSpec),
         .logSumExp =
             spec.keepsLogSumExp
                 ? tensors.output("logSumExp", float32Of({in.queries.back(), spec.map.heads()}))
                 : TensorView()});
  };
  return {.name = nameOf(spec), .run = run, .needs = {spec.out, spec.headDim}};
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
         .out = tensors.input("out", {spec.out, in.querySpec.shape}, forward.out),
         .logSumExp = tensors.input("logSumExp", float32Of({in.queries.back(), spec.map.heads()}),
                                    forward.logSumExp),
         .gradOut = tensors.input("gradOut", in.querySpec, normal()),
         .gradQ = tensors.output("gradQ", {spec.out, in.querySpec.shape}),
         .gradK = tensors.output("gradK", {spec.out, in.keySpec.shape}),
         .gradV = tensors.output("gradV", {spec.out, in.keySpec.shape}),
         .gradBiasTable =
             bias.given()
                 ? tensors.update("gradBiasTable", float32Of({spec.bias.buckets, spec.map.heads()}),
                                  normal())
                 : TensorView()});
  };
  return {.name = nameOf(spec),
          .run = run,
          .needs = {spec.out, spec.headDim},
          // gradOut . out, subtracted from every score's gradient, has the rounding of a bfloat16
          // out once more.
          .slack = spec.out == DType::bfloat16 ? 4.0 : 1.0,
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
                  return forwardCase(spec);
                }};
  OpRow backward{.op = "attentionPrefillBackward",
                 .sameBitsForAnyThreads = true,
                 .cases = {},
                 .randomCase = [](Random& random) {
                   PrefillSpec spec = randomPrefill(random);
                   if (random.coin()) spec = inBFloat16(spec);
                   return backwardCase(spec);
                 }};
  std::ranges::move(partialCases(), std::back_inserter(forward.cases));
  for (const PrefillSpec& spec : sharedSpecs()) {
    forward.cases.push_back(forwardCase(spec));
    backward.cases.push_back(backwardCase(spec));
    backward.cases.push_back(backwardCase(inBFloat16(spec)));
  }
  return {forward, backward};
}

}  // namespace wgqa::test
