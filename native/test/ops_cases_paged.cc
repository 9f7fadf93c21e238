#include <algorithm>
#include <cmath>
#include <limits>

#include "test/ops_attention_specs.h"
#include "test/ops_table.h"

namespace wgqa::test {
namespace {

// ---------------------------------------------------------------------------- decode

struct DecodeSpec {
  std::vector<std::int32_t> lengths;
  HeadMap map;
  std::int64_t headDim = 8;
  std::int64_t blockTokens = 16;
  DType cache = DType::float32;
  BiasSpec bias = {};
  float scale = 1.0f;
  DType out = DType::float32;
  int sharers = 1;  // of the blocks of each of the lengths
  DType query = DType::float32;
};

// Each sequence several times, one after the other: they are given the same blocks, as beams are.
std::vector<std::int32_t> repeated(const std::vector<std::int32_t>& lengths, int times) {
  std::vector<std::int32_t> result;
  for (const std::int32_t length : lengths) result.insert(result.end(), times, length);
  return result;
}

std::string nameOf(const DecodeSpec& spec) {
  std::string name = "lengths";
  for (const std::int32_t length : spec.lengths) name += " " + std::to_string(length);
  if (spec.sharers > 1) name += ", each by " + std::to_string(spec.sharers);
  return name + ", " + nameOf(spec.map) + ", headDim " + std::to_string(spec.headDim) +
         ", blocks of " + std::to_string(spec.blockTokens) + " " +
         std::string(dtypeName(spec.cache)) + ", " + nameOf(spec.bias) + ", scale " +
         std::to_string(spec.scale) + ", " + std::string(dtypeName(spec.query)) + " to " +
         std::string(dtypeName(spec.out));
}

// Which blocks the sequences hold: ids in random order, with some blocks that nobody holds.
struct BlockPlan {
  std::vector<std::int32_t> table;
  std::vector<std::int32_t> offsets = {0};
  std::int64_t blocks = 0;
};

BlockPlan planBlocks(Random& random, const DecodeSpec& spec) {
  constexpr std::int64_t kUnusedBlocks = 3;
  BlockPlan plan;
  std::int64_t used = 0;
  for (const std::int64_t length : spec.lengths) {
    used += (length + spec.blockTokens - 1) / spec.blockTokens;
  }
  plan.blocks = used + kUnusedBlocks;
  std::vector<std::int32_t> ids(plan.blocks);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int32_t>(i);
    std::swap(ids[i], ids[random.integer(0, static_cast<std::int64_t>(i))]);
  }
  auto next = ids.begin();
  for (const std::int64_t length : spec.lengths) {
    const auto end = next + (length + spec.blockTokens - 1) / spec.blockTokens;
    for (int i = 0; i < spec.sharers; ++i) {
      plan.table.insert(plan.table.end(), next, end);
      plan.offsets.push_back(static_cast<std::int32_t>(plan.table.size()));
    }
    next = end;
  }
  return plan;
}

// How a head's keys and values lie in a block: where the i-th component of a token is.
using Place = std::int64_t (*)(const DecodeSpec& spec, std::int64_t token, std::int64_t i);
constexpr Place kKeyPlace = [](const DecodeSpec& spec, std::int64_t token, std::int64_t i) {
  return i * spec.blockTokens + token;
};
constexpr Place kValuePlace = [](const DecodeSpec& spec, std::int64_t token, std::int64_t i) {
  return token * spec.headDim + i;
};

// Calls visit(row, token) for every key that a sequence holds, of every head: the block's and
// head's row among all of them, and the key's place in the block.
template <typename Visit>
void forEachKey(const DecodeSpec& spec, const BlockPlan& plan, const Visit& visit) {
  const std::int64_t kvHeads = spec.map.kvHeads();
  for (std::size_t sequence = 0; sequence < spec.lengths.size(); ++sequence) {
    const std::int32_t offset = plan.offsets[sequence * static_cast<std::size_t>(spec.sharers)];
    for (std::int64_t key = 0; key < spec.lengths[sequence]; ++key) {
      const std::int64_t block = plan.table[offset + key / spec.blockTokens];
      for (std::int64_t head = 0; head < kvHeads; ++head) {
        visit(block * kvHeads + head, key % spec.blockTokens);
      }
    }
  }
}

// Random numbers where a sequence holds a key, NaN in every other place of the blocks. int8 has no
// NaN: there the scales of unused places are.
Wide fillBlocks(Random& random, const DecodeSpec& spec, const BlockPlan& plan, Place place,
                double deviation) {
  const std::int64_t blockElements = spec.blockTokens * spec.headDim;
  const bool isQuantised = spec.cache == DType::int8;
  Wide values(plan.blocks * spec.map.kvHeads() * blockElements,
              isQuantised ? -1.0 : std::numeric_limits<double>::quiet_NaN());
  forEachKey(spec, plan, [&](std::int64_t row, std::int64_t token) {
    for (std::int64_t i = 0; i < spec.headDim; ++i) {
      values[row * blockElements + place(spec, token, i)] =
          isQuantised ? static_cast<double>(random.integer(-127, 127))
                      : deviation * random.normal();
    }
  });
  return values;
}

// A scale where a sequence holds a key, for numbers of about that deviation.
Wide fillScales(Random& random, const DecodeSpec& spec, const BlockPlan& plan, double deviation) {
  Wide scales(plan.blocks * spec.map.kvHeads() * spec.blockTokens,
              std::numeric_limits<double>::quiet_NaN());
  forEachKey(spec, plan, [&](std::int64_t row, std::int64_t token) {
    scales[row * spec.blockTokens + token] =
        deviation * static_cast<double>(random.integer(1, 4)) / 200.0;
  });
  return scales;
}

// The engine keeps the keys of a block and its values one behind the other.
TensorSpec bothOf(DType dtype, std::int64_t blocks, std::int64_t kvHeads, std::int64_t blockTokens,
                  std::int64_t headDim) {
  return {dtype, {blocks, 2 * kvHeads, blockTokens, headDim}};
}

template <typename View>
View keysOf(const View& both) {
  View view = both;
  view.shape[1] /= 2;
  std::swap(view.shape[2], view.shape[3]);
  view.strides[2] = view.shape[3];
  return view;
}

template <typename View>
View valuesOf(const View& both) {
  View view = both;
  view.shape[1] /= 2;
  const std::int64_t bytes =
      view.shape[1] * view.strides[1] * static_cast<std::int64_t>(bytesOf(both.dtype));
  using Byte = std::remove_pointer_t<decltype(both.template as<std::byte>())>;
  view.data = static_cast<Byte*>(both.template as<std::byte>() + bytes);
  return view;
}

Wide interleaved(const Wide& keys, const Wide& values, std::int64_t blockElements) {
  Wide both;
  for (std::size_t begin = 0; begin < keys.size(); begin += blockElements) {
    for (const Wide* side : {&keys, &values}) {
      both.insert(both.end(), side->begin() + begin, side->begin() + begin + blockElements);
    }
  }
  return both;
}

// Beside 16-bit queries the weights, too, may be rounded before they meet the values: to the
// queries' type, or to bfloat16 before int8 values.
double slackOfWeights(const DecodeSpec& spec) {
  if (spec.query == DType::float32) return 1.0;
  const DType weights = spec.cache == DType::int8 ? DType::bfloat16 : spec.query;
  return 2.0 * std::max(1.0, toleranceOf(weights) / toleranceOf(spec.out));
}

OpCase decodeCase(const DecodeSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    const BlockPlan plan = planBlocks(tensors.random(), spec);
    const std::int64_t kvHeads = spec.map.kvHeads();
    const std::vector<std::int32_t> lengths = repeated(spec.lengths, spec.sharers);
    const auto sequences = static_cast<std::int64_t>(lengths.size());
    const std::vector<std::int64_t> rows = {sequences, spec.map.heads(), spec.headDim};
    // Scores with a deviation of about 2.
    const double deviation = std::sqrt(2.0) / std::pow(spec.headDim, 0.25);
    const Wide keys = fillBlocks(tensors.random(), spec, plan, kKeyPlace, deviation);
    const Wide values = fillBlocks(tensors.random(), spec, plan, kValuePlace, 1.0);
    const ConstTensorView both = tensors.input(
        "keys and values", bothOf(spec.cache, plan.blocks, kvHeads, spec.blockTokens, spec.headDim),
        interleaved(keys, values, kvHeads * spec.blockTokens * spec.headDim));
    PagedKv cache{.keys = keysOf(both),
                  .values = valuesOf(both),
                  .blockTable = plan.table,
                  .tableOffsets = plan.offsets,
                  .lengths = lengths};
    if (spec.cache == DType::int8) {
      const TensorSpec scales = float32Of({plan.blocks, kvHeads, spec.blockTokens});
      cache.keyScales =
          tensors.input("key scales", scales, fillScales(tensors.random(), spec, plan, deviation));
      cache.valueScales =
          tensors.input("value scales", scales, fillScales(tensors.random(), spec, plan, 1.0));
    }
    ops.attentionDecode({.cache = cache,
                         .kvHeadOf = spec.map.kvHeadOf,
                         .scale = spec.scale,
                         .bias = makeBias(tensors, spec.bias, spec.map.heads()),
                         .q = tensors.input("q", {spec.query, rows, 0, true}, normal(deviation)),
                         .out = tensors.output("out", {spec.out, rows})});
  };
  return {.name = nameOf(spec),
          .run = run,
          .needs = {.headDim = spec.headDim, .attentionInput = spec.query, .cache = spec.cache},
          .slack = slackOfWeights(spec)};
}

DecodeSpec randomDecode(Random& random) {
  DecodeSpec spec;
  for (std::int64_t i = random.integer(1, 6); i > 0; --i) {
    spec.lengths.push_back(static_cast<std::int32_t>(random.integer(1, 90)));
  }
  spec.map = randomGroups(random);
  spec.headDim = random.oneOf<std::int64_t>({8, 16, 24, 32, 40, 64});
  spec.blockTokens = random.oneOf<std::int64_t>({1, 3, 16, 64});
  spec.cache = random.oneOf({DType::float32, DType::float16, DType::bfloat16, DType::int8});
  spec.bias = randomBias(random);
  spec.scale = random.oneOf({1.0f, 0.25f});
  spec.out = random.oneOf({DType::float32, DType::bfloat16});
  spec.sharers = random.oneOf({1, 1, 3});
  return spec;
}

// Queries in 16 bits, as a backend with tensor cores wants them: groups below and beyond the rows
// of its tiles, lengths about the keys of a warp and of a block of threads.
void addRoundedQueries(std::vector<OpCase>& cases) {
  constexpr BiasSpec kBias{32, 128, false};
  const std::vector<std::int32_t> lengths = {1, 15, 16, 17, 63, 64, 65, 255, 256, 257, 600};
  const auto add = [&](DecodeSpec spec) {
    for (const DType query : {DType::float16, DType::bfloat16}) {
      for (const DType cache : {query, DType::int8}) {
        spec.cache = cache;
        spec.query = query;
        spec.out = query;
        cases.push_back(decodeCase(spec));
      }
    }
  };
  for (const std::int64_t headDim : {64, 128}) {
    add({lengths, equalGroups(2, 2), headDim, 64, {}, kBias});
    add({lengths, equalGroups(6, 2), headDim, 16, {}, kBias});
    add({{65, 300}, equalGroups(12, 1), headDim, 64, {}, {8, 16, false}, 0.125f});
    add({{130, 2}, {{0, 0, 0, 1, 2, 2}}, headDim, 32, {}, kBias});
  }
  add({{1, 700}, equalGroups(17, 1), 64, 64, {}, kBias});
  add({{33, 1100}, equalGroups(40, 1), 64, 64, {}, kBias});
  add({{3, 33}, equalGroups(4, 2), 40, 7, {}, kBias});  // no tile fits
  add({{3, 33}, equalGroups(4, 2), 64, 7, {}, kBias});
  // Caches of another type than the queries'.
  for (const DType query : {DType::float16, DType::bfloat16}) {
    for (const DType cache : {DType::float32, DType::float16, DType::bfloat16}) {
      DecodeSpec mixed{{1, 65, 300}, equalGroups(6, 2), 64, 64, cache, kBias};
      mixed.query = query;
      mixed.out = query;
      cases.push_back(decodeCase(mixed));
    }
  }
}

OpRow decodeRow() {
  OpRow row{.op = "attentionDecode",
            .sameBitsForAnyThreads = true,
            .cases = {},
            .randomCase = [](Random& random) { return decodeCase(randomDecode(random)); }};
  addRoundedQueries(row.cases);
  const std::vector<std::int32_t> mixed = {1, 130, 2, 17, 64, 65, 1};
  constexpr BiasSpec kBias{32, 128, false};
  for (const DType cache : {DType::float32, DType::float16, DType::bfloat16, DType::int8}) {
    row.cases.push_back(decodeCase({{1}, equalGroups(1, 1), 8, 16, cache}));
    row.cases.push_back(decodeCase({mixed, equalGroups(8, 8), 64, 16, cache, kBias}));
    row.cases.push_back(decodeCase({mixed, equalGroups(8, 2), 64, 16, cache, kBias}));
    row.cases.push_back(decodeCase({mixed, equalGroups(12, 1), 64, 64, cache, {}, 0.125f}));
    row.cases.push_back(decodeCase({mixed, {{0, 0, 0, 1, 2, 2}}, 40, 1, cache, kBias}));
    row.cases.push_back(
        decodeCase({{1000, 1, 2049}, equalGroups(2, 1), 8, 16, cache, {8, 16, false}}));
    DecodeSpec shared{{1000, 1, 40}, equalGroups(4, 2), 64, 16, cache, kBias};
    shared.sharers = 4;
    row.cases.push_back(decodeCase(shared));
    shared.lengths = {30};
    shared.sharers = 9;
    row.cases.push_back(decodeCase(shared));
    for (const std::int64_t headDim : {8, 24, 32, 40, 64, 80, 128}) {
      row.cases.push_back(decodeCase(
          {{3, 33}, equalGroups(4, 2), headDim, 7, cache, kBias, 1.0f, DType::bfloat16}));
    }
  }
  return row;
}

// ---------------------------------------------------------------------------- append

struct AppendSpec {
  std::int64_t tokens = 1;
  std::int64_t kvHeads = 1;
  std::int64_t headDim = 8;
  std::int64_t blocks = 1;
  std::int64_t blockTokens = 16;
  DType cache = DType::float32;
  DType input = DType::float32;
  bool inOrder = false;  // as a prompt is appended: places of a block one after the other
  bool aligned = false;
};

std::vector<std::int64_t> shuffled(Random& random, std::int64_t count) {
  std::vector<std::int64_t> numbers(count);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::int64_t>(i);
    std::swap(numbers[i], numbers[random.integer(0, static_cast<std::int64_t>(i))]);
  }
  return numbers;
}

// From some place of the first block on, if they are in order.
std::vector<std::int64_t> drawSlots(Random& random, const AppendSpec& spec) {
  std::vector<std::int64_t> slots;
  if (spec.inOrder) {
    for (const std::int64_t block : shuffled(random, spec.blocks)) {
      for (std::int64_t i = 0; i < spec.blockTokens; ++i) {
        slots.push_back(block * spec.blockTokens + i);
      }
    }
    const std::int64_t spare = spec.blocks * spec.blockTokens - spec.tokens;
    slots.erase(slots.begin(),
                slots.begin() + random.integer(0, std::min(spare, spec.blockTokens - 1)));
  } else {
    slots = shuffled(random, spec.blocks * spec.blockTokens);
  }
  slots.resize(spec.tokens);
  return slots;
}

OpCase appendCase(const AppendSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    const auto slots = drawSlots(tensors.random(), spec);
    const TensorSpec rows{spec.input, {spec.tokens, spec.kvHeads, spec.headDim}, 0, spec.aligned};
    TensorSpec blocks =
        bothOf(spec.cache, spec.blocks, spec.kvHeads, spec.blockTokens, spec.headDim);
    blocks.aligned = spec.aligned;
    const TensorView both = tensors.cache("keys and values", blocks);
    KvAppend append{.k = tensors.input("k", rows, normal()),
                    .v = tensors.input("v", rows, normal()),
                    .slots = slots,
                    .keys = keysOf(both),
                    .values = valuesOf(both)};
    if (spec.cache == DType::int8) {
      const TensorSpec scales = float32Of({spec.blocks, spec.kvHeads, spec.blockTokens});
      append.keyScales = tensors.cache("key scales", scales);
      append.valueScales = tensors.cache("value scales", scales);
    }
    ops.kvAppend(append);
  };
  return {.name = std::to_string(spec.tokens) + " tokens, kvHeads " + std::to_string(spec.kvHeads) +
                  ", headDim " + std::to_string(spec.headDim) + ", " + std::to_string(spec.blocks) +
                  " blocks of " + std::to_string(spec.blockTokens) + " " +
                  std::string(dtypeName(spec.cache)) + " from " +
                  std::string(dtypeName(spec.input)) + (spec.inOrder ? ", in order" : "") +
                  (spec.aligned ? ", aligned" : ""),
          .run = run,
          .needs = {.headDim = spec.headDim, .attentionInput = spec.input, .cache = spec.cache},
          .slack = 0.0};  // a copy, or a rounding with one right answer
}

OpRow appendRow() {
  OpRow row{
      .op = "kvAppend",
      .sameBitsForAnyThreads = true,
      .cases = {},
      .randomCase = [](Random& random) {
        AppendSpec spec;
        spec.kvHeads = random.integer(1, 9);
        spec.headDim = random.oneOf<std::int64_t>({8, 16, 24, 40, 64});
        spec.blocks = random.integer(1, 9);
        spec.blockTokens = random.oneOf<std::int64_t>({1, 3, 16});
        spec.tokens = random.integer(1, spec.blocks * spec.blockTokens);
        spec.cache = random.oneOf({DType::float32, DType::float16, DType::bfloat16, DType::int8});
        spec.inOrder = random.coin();
        spec.aligned = random.coin();
        return appendCase(spec);
      }};
  for (const DType cache : {DType::float32, DType::float16, DType::bfloat16, DType::int8}) {
    for (const AppendSpec& spec : {AppendSpec{1, 1, 8, 1, 1}, AppendSpec{1, 12, 64, 5, 16},
                                   AppendSpec{17, 3, 24, 4, 7}, AppendSpec{130, 4, 40, 9, 16},
                                   AppendSpec{64, 8, 64, 4, 16}, AppendSpec{3, 2, 128, 2, 64}}) {
      AppendSpec typed = spec;
      typed.cache = cache;
      for (const DType input : {DType::float32, DType::float16, DType::bfloat16}) {
        typed.input = input;
        row.cases.push_back(appendCase(typed));
      }
    }
    // Prompts that begin anywhere in a block, and heads that vectors do not divide.
    for (const AppendSpec& spec : {AppendSpec{130, 4, 64, 4, 64}, AppendSpec{70, 2, 128, 6, 16},
                                   AppendSpec{65, 2, 40, 12, 7}, AppendSpec{33, 3, 17, 3, 16},
                                   AppendSpec{9, 1, 256, 1, 64}}) {
      AppendSpec ordered = spec;
      ordered.cache = cache;
      ordered.inOrder = true;
      row.cases.push_back(appendCase(ordered));
      ordered.aligned = true;
      for (const DType input : {DType::float32, DType::float16, DType::bfloat16}) {
        ordered.input = input;
        row.cases.push_back(appendCase(ordered));
      }
    }
  }
  return row;
}

}  // namespace

std::vector<OpRow> pagedRows() { return {decodeRow(), appendRow()}; }

}  // namespace wgqa::test
