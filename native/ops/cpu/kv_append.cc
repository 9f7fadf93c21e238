#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/kv_append.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <functional>

#include "base/parallel.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/tile_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Token `token` of `rows` into its slot of `cache`, every head.
template <typename T>
void appendToken(const ConstTensorView& rows, const TensorView& cache, std::int64_t token,
                 std::int64_t slot) {
  const std::int64_t heads = rows.shape[1];
  const std::int64_t headDim = rows.shape[2];
  const std::int64_t blockTokens = cache.shape[2];
  const float* from = rows.as<float>() + token * heads * headDim;
  T* to =
      cache.as<T>() + slot / blockTokens * cache.strides[0] + slot % blockTokens * cache.strides[2];
  for (std::int64_t head = 0; head < heads; ++head) {
    copyRow(from + head * headDim, static_cast<int>(headDim), to + head * cache.strides[1]);
  }
}

template <typename T>
void appendTokens(const KvAppend& p, std::int64_t begin, std::int64_t end) {
  for (std::int64_t token = begin; token < end; ++token) {
    appendToken<T>(p.k, p.keys, token, p.slots[token]);
    appendToken<T>(p.v, p.values, token, p.slots[token]);
  }
}

void append(const KvAppend& p) {
  const auto range = [&p](std::int64_t begin, std::int64_t end, int) {
    if (p.keys.dtype == DType::bfloat16) {
      appendTokens<BFloat16>(p, begin, end);
    } else {
      appendTokens<float>(p, begin, end);
    }
  };
  const std::int64_t elements = 2 * p.k.shape[1] * p.k.shape[2];
  parallelFor(static_cast<std::int64_t>(p.slots.size()), rowGrain(elements), std::cref(range));
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {

HWY_EXPORT(append);

void kvAppend(const KvAppend& p) { HWY_DYNAMIC_DISPATCH(append)(p); }

}  // namespace wgqa::cpu
#endif
