#include "ops/cpu/prepared_rows.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "ops/cpu/cast.h"
#include "ops/cpu/quantise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/prepared_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "ops/cpu/wide_words_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Words of bytes as the wide words of FourBytes, which stand side by side.
void widenBytes(const std::byte* bytes, std::int64_t words, std::byte* wide) {
  const WordTag d;
  const auto* from = reinterpret_cast<const std::uint32_t*>(bytes);
  auto* to = reinterpret_cast<std::uint32_t*>(wide);
  std::int64_t i = 0;
  for (; i + kLanes <= words; i += kLanes) {
    const WordVector loaded = hn::LoadU(d, from + i);
    hn::StoreInterleaved2(widenedBytes(loaded, 0), widenedBytes(loaded, 1), d, to + 2 * i);
  }
  for (; i < words; ++i) {
    const auto* word = reinterpret_cast<const std::int8_t*>(from + i);
    const std::int16_t shorts[4] = {word[0], word[2], word[1], word[3]};
    std::memcpy(to + 2 * i, shorts, sizeof shorts);
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {

HWY_EXPORT(widenBytes);

/// Calls convert(row, bytes of the row) for all rows.
template <class Convert>
void forRows(std::int64_t count, std::int64_t rowBytes, const Convert& convert) {
  parallelFor(count, rowGrain(rowBytes), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) convert(row);
  });
}

// Elements of `type`, `bytes` a row, padded with zeros.
PreparedRows typedRows(const ConstTensorView& x, DType type, std::int64_t bytes, Scratch& scratch) {
  const auto elementBytes = static_cast<std::int64_t>(bytesOf(type));
  const std::int64_t used = x.shape[1] * elementBytes;
  if (x.dtype == type && used == bytes) return {x.as<std::byte>(), x.strides[0] * elementBytes};
  auto* rows = scratch.shared<std::byte>(SharedScratch::first, x.shape[0] * bytes);
  forRows(x.shape[0], bytes, [&](std::int64_t row) {
    std::byte* to = rows + row * bytes;
    convertElements(x.rows(row, 1).data, x.dtype, to, type, x.shape[1]);
    std::fill(to + used, to + bytes, std::byte{0});
  });
  return {rows, bytes};
}

void addSignBits(std::byte* bytes, std::int64_t count) {
  constexpr std::uint32_t kSignBits = 0x80808080u;
  for (std::int64_t i = 0; i < count; i += kWordBytes) {
    std::uint32_t word;
    std::memcpy(&word, bytes + i, sizeof word);
    word ^= kSignBits;
    std::memcpy(bytes + i, &word, sizeof word);
  }
}

PreparedRows quantisedRows(const ConstTensorView& x, RowForm form, std::int64_t words,
                           Scratch& scratch) {
  const std::int64_t count = x.shape[0];
  const std::int64_t bytes = words * kWordBytes;
  // 16-bit integers are made of bytes that lie in the second half of their own room.
  const std::int64_t stride = form == RowForm::shorts ? 2 * bytes : bytes;
  auto* rows = scratch.shared<std::byte>(SharedScratch::first, count * stride);
  auto* scales = scratch.shared<float>(SharedScratch::second, count);
  forRows(count, stride, [&](std::int64_t row) {
    std::byte* to = rows + row * stride;
    std::byte* integers = to + (stride - bytes);
    quantiseRow(x.as<float>() + row * x.strides[0], x.shape[1],
                reinterpret_cast<std::int8_t*>(integers), scales[row]);
    std::fill(integers + x.shape[1], integers + bytes, std::byte{0});
    if (form == RowForm::unsignedBytes) addSignBits(integers, bytes);
    if (form == RowForm::shorts) HWY_DYNAMIC_DISPATCH(widenBytes)(integers, words, to);
  });
  return {rows, stride, scales};
}

}  // namespace

PreparedRows prepareRows(const ConstTensorView& x, RowForm form, DType dtype, std::int64_t words,
                         Scratch& scratch) {
  const std::int64_t bytes = words * kWordBytes;
  switch (form) {
    case RowForm::floats:
      return typedRows(x, DType::float32, bytes * (dtype == DType::bfloat16 ? 2 : 1), scratch);
    case RowForm::bfloat16Pairs:
      return typedRows(x, DType::bfloat16, bytes, scratch);
    case RowForm::signedBytes:
    case RowForm::unsignedBytes:
    case RowForm::shorts:
      return quantisedRows(x, form, words, scratch);
  }
  return {};
}

}  // namespace wgqa::cpu
#endif
