#include "ops/cpu/block_weight.h"

#include <algorithm>
#include <numeric>

#include "base/parallel.h"
#include "ops/cpu/cast.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/quantise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/block_weight.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "ops/cpu/tile_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Words that are moved at a time: what they fill of a block stays in the first cache.
constexpr std::int64_t kTurnedWords = 64;

// Rows of words as columns of a block of `features` columns. Moving floats keeps every bit.
void turnRows(const std::byte* rows, std::int64_t stride, std::int64_t count, std::int64_t words,
              std::int64_t features, std::byte* block) {
  const auto* from = reinterpret_cast<const float*>(rows);
  auto* to = reinterpret_cast<float*>(block);
  for (std::int64_t first = 0; first < words; first += kTurnedWords) {
    const auto columns = static_cast<int>(std::min(kTurnedWords, words - first));
    packTransposed(from + first, stride / kWordBytes, static_cast<int>(count), columns,
                   to + first * features, features);
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {

HWY_EXPORT(turnRows);

// Bytes from one row of words to the next.
std::int64_t rowBytes(const BlockWeight& weight) { return weight.words() * kWordBytes; }

// Whether rows of the weight can be read as words where they are.
bool liesInWords(const ConstTensorView& weight, DType dtype) {
  return weight.dtype == dtype && dtype == DType::float32;
}

void packBlock(const ConstTensorView& weight, std::int64_t block, BlockWeight& packed) {
  const std::int64_t features = packed.kernel->features;
  const std::int64_t first = block * features;
  const std::int64_t count = std::min(features, weight.shape[0] - first);
  const ConstTensorView rows = weight.rows(first, count);
  std::byte* to = packed.memory.data + block * packed.blockBytes();
  if (count < features) std::fill_n(to, packed.blockBytes(), std::byte{0});
  if (liesInWords(weight, packed.dtype)) {
    HWY_DYNAMIC_DISPATCH(turnRows)
    (rows.as<std::byte>(), weight.strides[0] * kWordBytes, count, packed.words(), features, to);
    return;
  }
  const Buffer converted(static_cast<std::size_t>(count * rowBytes(packed)));
  const bool isQuantised = packed.dtype == DType::int8;
  convertRows(rows, packed.dtype, converted.as<std::byte>(),
              isQuantised ? packed.scales.data() + first : nullptr);
  for (std::int64_t i = 0; !packed.offsets.empty() && i < count; ++i) {
    const auto* row = converted.as<std::int8_t>() + i * rowBytes(packed);
    packed.offsets[static_cast<std::size_t>(first + i)] =
        -128 * std::accumulate(row, row + packed.inFeatures, 0);
  }
  HWY_DYNAMIC_DISPATCH(turnRows)
  (converted.as<std::byte>(), rowBytes(packed), count, packed.words(), features, to);
}

}  // namespace

void convertRows(const ConstTensorView& rows, DType dtype, std::byte* converted, float* scales) {
  const std::int64_t columns = rows.shape[1];
  const std::int64_t bytes = wordsOf(columns, dtype) * kWordBytes;
  std::vector<float> floats(static_cast<std::size_t>(dtype == DType::int8 ? columns : 0));
  for (std::int64_t row = 0; row < rows.shape[0]; ++row, converted += bytes) {
    const void* from = rows.rows(row, 1).data;
    if (dtype == DType::int8) {
      convertElements(from, rows.dtype, floats.data(), DType::float32, columns);
      quantiseRow(floats.data(), columns, reinterpret_cast<std::int8_t*>(converted), scales[row]);
    } else {
      convertElements(from, rows.dtype, converted, dtype, columns);
    }
    const std::int64_t used = columns * static_cast<std::int64_t>(bytesOf(dtype));
    std::fill(converted + used, converted + bytes, std::byte{0});
  }
}

std::unique_ptr<BlockWeight> packBlocks(const ConstTensorView& weight, DType dtype,
                                        const BlockKernel& kernel, WeightMemory& memory) {
  auto packed = std::make_unique<BlockWeight>();
  packed->outFeatures = weight.shape[0];
  packed->inFeatures = weight.shape[1];
  packed->dtype = dtype;
  packed->kernel = &kernel;
  packed->memory = memory.take(static_cast<std::size_t>(packed->blocks() * packed->blockBytes()));
  packed->bytes = packed->outFeatures * packed->words() * kWordBytes;
  if (dtype == DType::int8) {
    const auto padded = static_cast<std::size_t>(packed->blocks() * kernel.features);
    packed->scales.resize(padded);
    packed->bytes += packed->outFeatures * static_cast<std::int64_t>(sizeof(float));
    if (kernel.rowForm == RowForm::unsignedBytes) {
      packed->offsets.resize(padded);
      packed->bytes += packed->outFeatures * static_cast<std::int64_t>(sizeof(std::int32_t));
    }
  }
  parallelRanges(packed->blocks(), 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t block = begin; block < end; ++block) packBlock(weight, block, *packed);
  });
  return packed;
}

}  // namespace wgqa::cpu
#endif
