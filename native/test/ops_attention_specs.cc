#include "test/ops_attention_specs.h"

namespace wgqa::test {

HeadMap equalGroups(std::int64_t heads, std::int64_t kvHeads) {
  HeadMap map;
  for (std::int64_t head = 0; head < heads; ++head) {
    map.kvHeadOf.push_back(static_cast<std::int32_t>(head * kvHeads / heads));
  }
  return map;
}

HeadMap randomGroups(Random& random) {
  HeadMap map;
  std::int32_t kvHead = 0;
  for (std::int64_t head = random.integer(1, 9); head > 0; --head) {
    map.kvHeadOf.push_back(kvHead);
    if (random.coin()) ++kvHead;
  }
  return map;
}

BiasSpec randomBias(Random& random) {
  return random.oneOf<BiasSpec>(
      {{0}, {32, 128, false}, {32, 128, true}, {8, 16, false}, {8, 16, true}, {8, 128, true}});
}

RelativeBias makeBias(CaseTensors& tensors, const BiasSpec& spec, std::int64_t heads) {
  if (spec.buckets == 0) return {};
  return {tensors.input("biasTable", float32Of({spec.buckets, heads}), normal()),
          spec.bidirectional, spec.maxDistance};
}

std::vector<SequenceSpec> selfSequences(std::initializer_list<std::int32_t> lengths) {
  std::vector<SequenceSpec> sequences;
  for (const std::int32_t length : lengths) sequences.push_back({length, length});
  return sequences;
}

std::vector<std::int32_t> queryOffsets(const std::vector<SequenceSpec>& sequences) {
  std::vector<std::int32_t> offsets = {0};
  for (const auto& sequence : sequences) offsets.push_back(offsets.back() + sequence.queries);
  return offsets;
}

std::vector<std::int32_t> keyOffsets(const std::vector<SequenceSpec>& sequences) {
  std::vector<std::int32_t> offsets = {0};
  for (const auto& sequence : sequences) offsets.push_back(offsets.back() + sequence.keys);
  return offsets;
}

std::string nameOf(const HeadMap& map) {
  std::string name = "kvHeadOf";
  for (const std::int32_t kvHead : map.kvHeadOf) name += " " + std::to_string(kvHead);
  return name;
}

std::string nameOf(const BiasSpec& bias) {
  if (bias.buckets == 0) return "no bias";
  return std::to_string(bias.buckets) + " buckets to " + std::to_string(bias.maxDistance) +
         (bias.bidirectional ? " both ways" : "");
}

namespace {

std::string placesOf(const std::vector<std::int32_t>& firstPositions) {
  std::string text = firstPositions.empty() ? "" : ", from";
  for (const std::int32_t position : firstPositions) text += " " + std::to_string(position);
  return text;
}

}  // namespace

std::string nameOf(const PrefillSpec& spec) {
  std::string name = spec.causal ? "causal" : "full";
  for (const auto& sequence : spec.sequences) {
    name += " " + std::to_string(sequence.queries) + "/" + std::to_string(sequence.keys);
  }
  return name + ", " + nameOf(spec.map) + ", headDim " + std::to_string(spec.headDim) + ", " +
         nameOf(spec.bias) + ", dropout " + std::to_string(spec.rate) + ", scale " +
         std::to_string(spec.scale) + ", " + std::string(dtypeName(spec.out)) +
         (spec.input == DType::float32 ? "" : " of " + std::string(dtypeName(spec.input))) +
         (spec.gradOut == DType::float32 ? ""
                                         : ", gradOut " + std::string(dtypeName(spec.gradOut))) +
         (spec.keepsLogSumExp ? "" : ", no logSumExp") +
         (spec.integerLimit > 0 ? ", large scores" : "") + placesOf(spec.firstPositions);
}

PrefillSpec randomPrefill(Random& random) {
  PrefillSpec spec;
  spec.causal = random.coin();
  const bool self = random.coin();
  for (std::int64_t i = random.integer(1, 4); i > 0; --i) {
    const auto queries = static_cast<std::int32_t>(random.integer(0, 20));
    spec.sequences.push_back(
        {queries, self ? queries : static_cast<std::int32_t>(random.integer(0, 70))});
  }
  // At least one token of each: a tensor needs an element.
  spec.sequences.push_back({1, 1});
  spec.map = randomGroups(random);
  spec.headDim = random.oneOf<std::int64_t>({8, 16, 24, 32, 40, 64});
  spec.bias = randomBias(random);
  spec.rate = random.oneOf({0.0f, 0.1f, 0.5f});
  spec.scale = random.oneOf({1.0f, 0.25f});
  return spec;
}

PrefillSpec randomPartialPrefill(Random& random) {
  PrefillSpec spec = randomPrefill(random);
  for (SequenceSpec& sequence : spec.sequences) {
    sequence.keys += sequence.queries;
    spec.firstPositions.push_back(
        static_cast<std::int32_t>(random.integer(0, sequence.keys - sequence.queries)));
  }
  return spec;
}

}  // namespace wgqa::test
