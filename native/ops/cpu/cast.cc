#include "ops/cpu/cast.h"

#include <cstring>

#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/cast.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

template <class From, class To>
void convert(const From* HWY_RESTRICT from, To* HWY_RESTRICT to, std::int64_t count) {
  forVectors(count, [&](std::int64_t i, std::size_t valid)
                        HWY_ATTR { store(load(from + i, valid), to + i, valid); });
}

template <class From>
void convertFrom(const From* from, void* to, DType toType, std::int64_t count) {
  switch (toType) {
    case DType::bfloat16:
      return convert(from, static_cast<BFloat16*>(to), count);
    case DType::float16:
      return convert(from, static_cast<Float16*>(to), count);
    default:
      return convert(from, static_cast<float*>(to), count);
  }
}

void convertStretch(const void* from, DType fromType, void* to, DType toType, std::int64_t count) {
  switch (fromType) {
    case DType::bfloat16:
      return convertFrom(static_cast<const BFloat16*>(from), to, toType, count);
    case DType::float16:
      return convertFrom(static_cast<const Float16*>(from), to, toType, count);
    default:
      return convertFrom(static_cast<const float*>(from), to, toType, count);
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(convertStretch);
}

void convertElements(const void* from, DType fromType, void* to, DType toType, std::int64_t count) {
  if (fromType == toType) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * bytesOf(fromType));
  } else {
    HWY_DYNAMIC_DISPATCH(convertStretch)(from, fromType, to, toType, count);
  }
}

void cast(const Cast& p) {
  parallelFor(p.x.elements(), kGrainElements, [&](std::int64_t begin, std::int64_t end, int) {
    const auto* from = p.x.as<std::byte>() + begin * bytesOf(p.x.dtype);
    auto* to = p.out.as<std::byte>() + begin * bytesOf(p.out.dtype);
    convertElements(from, p.x.dtype, to, p.out.dtype, end - begin);
  });
}

}  // namespace wgqa::cpu
#endif
