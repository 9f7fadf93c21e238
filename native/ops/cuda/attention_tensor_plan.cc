#include "ops/cuda/attention_tensor_plan.h"

#include <algorithm>
#include <cstdint>

#include "ops/cuda/alignment.h"
#include "ops/cuda/kernels/attention_tile.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr std::int64_t kLargestHeadDim = 128;

struct CostedTile {
  std::int64_t cost;
  SequenceTile tile;
};

std::vector<SequenceTile> costliestFirst(std::vector<CostedTile> costed) {
  std::stable_sort(costed.begin(), costed.end(),
                   [](const CostedTile& a, const CostedTile& b) { return a.cost > b.cost; });
  std::vector<SequenceTile> tiles;
  for (const CostedTile& each : costed) tiles.push_back(each.tile);
  return tiles;
}

// How far the first row of the first tile lies before a sequence's first query.
std::int64_t rowsBeforeFirst(const AttentionShape& shape, std::int64_t sequence,
                             std::int64_t rows) {
  if (!shape.bias.given()) return 0;
  const std::int64_t remainder = shape.firstPosition(sequence) % rows;
  return remainder < 0 ? remainder + rows : remainder;
}

}  // namespace

bool takesTensorCores(const AttentionShape& shape, std::int64_t headDim,
                      std::initializer_list<ConstTensorView> tensors) {
  if (headDim % 8 != 0 || headDim > kLargestHeadDim || !(shape.scale > 0.0f)) return false;
  return std::ranges::all_of(
      tensors, [](const ConstTensorView& tensor) { return areAligned({tensor.data}); });
}

std::int64_t biasWindowFloats(const RelativeBiasArguments& bias) {
  return bias.table == nullptr ? 0 : biasWindowFloats(int{bias.reach});
}

std::vector<SequenceTile> queryTiles(const AttentionShape& shape, std::int64_t rows) {
  std::vector<CostedTile> costed;
  for (std::int64_t i = 0; i < shape.queries.sequences(); ++i) {
    const std::int64_t queries = shape.queries.length(i);
    for (std::int64_t first = -rowsBeforeFirst(shape, i, rows); first < queries; first += rows) {
      const std::int64_t last = std::min(first + rows, queries) - 1;
      const std::int64_t seen =
          shape.causal
              ? std::clamp<std::int64_t>(shape.firstPosition(i) + last + 1, 0, shape.keys.length(i))
              : shape.keys.length(i);
      costed.push_back({seen, {static_cast<std::int32_t>(i), static_cast<std::int32_t>(first)}});
    }
  }
  return costliestFirst(std::move(costed));
}

std::vector<SequenceTile> keyTiles(const AttentionShape& shape, std::int64_t rows) {
  std::vector<CostedTile> costed;
  for (std::int64_t i = 0; i < shape.keys.sequences(); ++i) {
    const std::int64_t queries = shape.queries.length(i);
    for (std::int64_t first = 0; first < shape.keys.length(i); first += rows) {
      const std::int64_t firstQuery =
          shape.causal ? std::clamp<std::int64_t>(first - shape.firstPosition(i), 0, queries) : 0;
      costed.push_back(
          {queries - firstQuery, {static_cast<std::int32_t>(i), static_cast<std::int32_t>(first)}});
    }
  }
  return costliestFirst(std::move(costed));
}

Widener::Widener(std::int64_t count, Session& session)
    : session_(session), next_(session.scratch<float>(Session::Scratch::fourth, count)) {}

ConstTensorView Widener::operator()(const ConstTensorView& tensor) {
  if (tensor.dtype == DType::float32) return tensor;
  const TensorView copy(next_, DType::float32, {tensor.shape[0], tensor.shape[1], tensor.shape[2]});
  next_ += tensor.elements();
  if (tensor.elements() > 0) cast({.x = tensor, .out = copy}, session_);
  return copy;
}

}  // namespace wgqa::cuda
