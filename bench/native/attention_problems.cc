#include "attention_problems.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace wgqa::bench {
namespace {

std::vector<float> randomFloats(std::size_t count, float deviation) {
  static std::mt19937 generator(1);
  std::normal_distribution<float> normal(0.0f, deviation);
  // A stretch of them again and again: drawing a large tensor would take longer than using it.
  constexpr std::size_t kDrawn = 1 << 20;
  std::vector<float> values(count);
  const auto drawn = values.begin() + static_cast<std::ptrdiff_t>(std::min(count, kDrawn));
  std::generate(values.begin(), drawn, [&] { return normal(generator); });
  for (std::size_t i = kDrawn; i < count; ++i) values[i] = values[i - kDrawn];
  return values;
}

// A tensor of random numbers in `memory`, which it allocates.
TensorView randomTensor(Ops& ops, Buffer& memory, DType dtype,
                        std::initializer_list<std::int64_t> shape, float deviation) {
  TensorView view(nullptr, dtype, shape);
  memory = Buffer(ops.memory(), static_cast<std::size_t>(view.bytes()));
  view.data = memory.as<void>();
  const auto count = static_cast<std::size_t>(view.elements());
  const std::vector<float> values = randomFloats(count, deviation);
  Buffer wide(ops.memory(), count * sizeof(float));
  const TensorView floats(wide.as<void>(), DType::float32, {view.elements()});
  ops.upload(values.data(), floats);
  ops.cast({floats, TensorView(view.data, dtype, {view.elements()})});
  ops.finish();
  return view;
}

// Blocks of keys, values and, for int8, their scales.
struct BlockLayout {
  std::int64_t sideBytes, scaleBytes;

  explicit BlockLayout(const DecodeShape& shape)
      : sideBytes(std::int64_t{shape.kvHeads} * shape.blockTokens * shape.headDim *
                  static_cast<std::int64_t>(bytesOf(shape.cacheType))),
        scaleBytes(shape.cacheType == DType::int8
                       ? std::int64_t{shape.kvHeads} * shape.blockTokens * 4
                       : 0) {}
  std::int64_t blockBytes() const { return 2 * (sideBytes + scaleBytes); }
};

// Random numbers of the cache's type: zeros can be faster than what a model writes. Bytes below 64
// are finite numbers in int8 and in the scales behind them.
Buffer cachePiece(Ops& ops, DType dtype, std::int64_t elements) {
  Buffer piece;
  if (dtype != DType::int8) {
    randomTensor(ops, piece, dtype, {elements}, 0.125f);
    return piece;
  }
  std::vector<std::int8_t> values(static_cast<std::size_t>(elements));
  std::mt19937 generator(1);
  std::ranges::generate(values, [&] { return static_cast<std::int8_t>(generator() % 64); });
  piece = Buffer(ops.memory(), values.size());
  ops.upload(values.data(), {piece.as<void>(), DType::int8, {elements}});
  return piece;
}

void fillCache(Ops& ops, const Buffer& memory, DType dtype) {
  constexpr std::int64_t kPiece = 1 << 22;
  const auto elements = static_cast<std::int64_t>(memory.bytes() / bytesOf(dtype));
  const Buffer piece = cachePiece(ops, dtype, kPiece);
  const TensorView random(piece.as<void>(), dtype, {kPiece});
  const TensorView all(memory.as<void>(), dtype, {elements});
  for (std::int64_t begin = 0; begin < elements; begin += kPiece) {
    const std::int64_t length = std::min(kPiece, elements - begin);
    ops.copy(random.rows(0, length), all.rows(begin, length));
  }
  ops.finish();
}

}  // namespace

std::vector<std::int32_t> equalGroups(int heads, int kvHeads) {
  std::vector<std::int32_t> kvHeadOf(static_cast<std::size_t>(heads));
  for (int head = 0; head < heads; ++head) {
    kvHeadOf[static_cast<std::size_t>(head)] = head * kvHeads / heads;
  }
  return kvHeadOf;
}

std::string groupName(int heads, int kvHeads) {
  if (kvHeads == heads) return "MHA";
  return kvHeads == 1 ? "MQA" : "GQA-" + std::to_string(kvHeads);
}

DecodeProblem::DecodeProblem(Ops& ops, const DecodeShape& shape)
    : kvHeadOf_(equalGroups(shape.heads, shape.kvHeads)),
      lengths_(static_cast<std::size_t>(shape.sequences), shape.tokens) {
  const BlockLayout layout(shape);
  const std::int64_t perSequence = shape.tokens / shape.blockTokens;
  const std::int64_t blocks = shape.sequences * perSequence;
  memory_ = Buffer(ops.memory(), static_cast<std::size_t>(blocks * layout.blockBytes()));
  fillCache(ops, memory_, shape.cacheType);
  blockTable_.resize(static_cast<std::size_t>(blocks));
  std::iota(blockTable_.begin(), blockTable_.end(), 0);
  if (shape.isShuffled) std::shuffle(blockTable_.begin(), blockTable_.end(), std::mt19937(1));
  for (int i = 0; i <= shape.sequences; ++i) {
    tableOffsets_.push_back(static_cast<std::int32_t>(i * perSequence));
  }
  const auto part = [&](std::int64_t offset, DType type,
                        std::initializer_list<std::int64_t> dimensions) {
    ConstTensorView view(memory_.as<std::byte>() + offset, type, dimensions);
    view.strides[0] = layout.blockBytes() / static_cast<std::int64_t>(bytesOf(type));
    return view;
  };
  params_.cache = {
      .keys = part(0, shape.cacheType, {blocks, shape.kvHeads, shape.headDim, shape.blockTokens}),
      .values = part(layout.sideBytes, shape.cacheType,
                     {blocks, shape.kvHeads, shape.blockTokens, shape.headDim}),
      .keyScales = {},
      .valueScales = {},
      .blockTable = blockTable_,
      .tableOffsets = tableOffsets_,
      .lengths = lengths_};
  if (layout.scaleBytes > 0) {
    const std::initializer_list<std::int64_t> dimensions = {blocks, shape.kvHeads,
                                                            shape.blockTokens};
    params_.cache.keyScales = part(2 * layout.sideBytes, DType::float32, dimensions);
    params_.cache.valueScales =
        part(2 * layout.sideBytes + layout.scaleBytes, DType::float32, dimensions);
  }
  params_.kvHeadOf = kvHeadOf_;
  params_.bias.table = randomTensor(ops, table_, DType::float32, {32, shape.heads}, 1.0f);
  const std::initializer_list<std::int64_t> rows = {shape.sequences, shape.heads, shape.headDim};
  params_.q = randomTensor(ops, q_, shape.queryType, rows, 1.0f);
  params_.out = randomTensor(ops, out_, shape.queryType, rows, 1.0f);
}

PrefillProblem::PrefillProblem(Ops& ops, const PrefillShape& shape)
    : kvHeadOf_(equalGroups(shape.heads, shape.kvHeads)),
      productWork_(2.0 * shape.sequences * shape.tokens * shape.tokens * shape.heads *
                   shape.headDim) {
  for (int i = 0; i <= shape.sequences; ++i) offsets_.push_back(i * shape.tokens);
  const std::int64_t rows = std::int64_t{shape.sequences} * shape.tokens;
  const auto make = [&](DType dtype, std::initializer_list<std::int64_t> dimensions,
                        float deviation) {
    return randomTensor(ops, memory_.emplace_back(), dtype, dimensions, deviation);
  };
  const auto query = [&](DType dtype) {
    return make(dtype, {rows, shape.heads, shape.headDim}, 1.0f);
  };
  const auto key = [&](float deviation) {
    return make(shape.dtype, {rows, shape.kvHeads, shape.headDim}, deviation);
  };
  AttentionShape attention;
  attention.queries = attention.keys = {offsets_};
  attention.kvHeadOf = kvHeadOf_;
  attention.bias = {make(DType::float32, {32, shape.heads}, 1.0f), true, 128};
  attention.dropout = {shape.dropoutRate, {1, 2}};
  const TensorView q = query(shape.dtype);
  const TensorView k = key(0.125f);
  const TensorView v = key(1.0f);
  forward_ = {
      attention, q, k, v, query(shape.dtype), make(DType::float32, {rows, shape.heads}, 1.0f)};
  backward_ = {attention,
               q,
               k,
               v,
               forward_.out,
               forward_.logSumExp,
               query(DType::float32),
               query(shape.dtype),
               key(1.0f),
               key(1.0f),
               make(DType::float32, {32, shape.heads}, 1.0f)};
}

}  // namespace wgqa::bench
