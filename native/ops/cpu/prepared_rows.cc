#include "ops/cpu/prepared_rows.h"

#include <algorithm>
#include <cstring>

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

bool isQuantised(RowForm form) { return form != RowForm::floats && form != RowForm::bfloat16Pairs; }

// Elements of `type`, padded with zeros.
void convertInto(std::byte* to, std::int64_t bytes, const ConstTensorView& x, DType type) {
  convertElements(x.data, x.dtype, to, type, x.shape[1]);
  std::fill(to + x.shape[1] * static_cast<std::int64_t>(bytesOf(type)), to + bytes, std::byte{0});
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

void quantiseInto(std::byte* to, std::int64_t bytes, const ConstTensorView& x, RowForm form,
                  float& scale) {
  // 16-bit integers are made of bytes that lie in the second half of their own room.
  const std::int64_t used = form == RowForm::shorts ? bytes / 2 : bytes;
  std::byte* integers = to + (bytes - used);
  quantiseRow(x.as<float>(), x.shape[1], reinterpret_cast<std::int8_t*>(integers), scale);
  std::fill(integers + x.shape[1], integers + used, std::byte{0});
  if (form == RowForm::unsignedBytes) addSignBits(integers, used);
  if (form == RowForm::shorts) HWY_DYNAMIC_DISPATCH(widenBytes)(integers, used / kWordBytes, to);
}

DType typeOf(RowForm form) {
  return form == RowForm::bfloat16Pairs ? DType::bfloat16 : DType::float32;
}

}  // namespace

std::int64_t preparedRowBytes(const BlockWeight& weight) {
  const std::int64_t bytes = weight.words() * kWordBytes;
  switch (weight.kernel->rowForm) {
    case RowForm::floats:
      return weight.dtype == DType::bfloat16 ? 2 * bytes : bytes;
    case RowForm::shorts:
      return 2 * bytes;
    default:
      return bytes;
  }
}

bool liesPrepared(const ConstTensorView& x, const BlockWeight& weight) {
  const RowForm form = weight.kernel->rowForm;
  return !isQuantised(form) && x.dtype == typeOf(form) &&
         x.shape[1] * static_cast<std::int64_t>(bytesOf(x.dtype)) == preparedRowBytes(weight);
}

PreparedRows prepareRows(const ConstTensorView& x, const BlockWeight& weight, std::byte* rows,
                         float* scales) {
  const RowForm form = weight.kernel->rowForm;
  const std::int64_t bytes = preparedRowBytes(weight);
  for (std::int64_t i = 0; i < x.shape[0]; ++i) {
    std::byte* to = rows + i * bytes;
    if (isQuantised(form)) {
      quantiseInto(to, bytes, x.rows(i, 1), form, scales[i]);
    } else {
      convertInto(to, bytes, x.rows(i, 1), typeOf(form));
    }
  }
  return {rows, bytes, scales};
}

}  // namespace wgqa::cpu
#endif
