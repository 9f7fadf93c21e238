#include <cmath>

#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/rms_norm.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

template <class Out>
void normalizeRow(const float* HWY_RESTRICT x, const float* HWY_RESTRICT weight, float inverseRms,
                  std::int64_t columns, Out* out) {
  const FloatTag d;
  const FloatVector scale = hn::Set(d, inverseRms);
  for (std::int64_t i = 0; i < columns; i += hn::Lanes(d)) {
    const std::size_t valid = lanesLeft(columns, i);
    const FloatVector normal = hn::Mul(load(x + i, valid), scale);
    store(hn::Mul(normal, load(weight + i, valid)), out + i, valid);
  }
}

void rmsNormRows(const RmsNorm& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t columns = p.x.shape[1];
  for (std::int64_t row = begin; row < end; ++row) {
    const float* x = p.x.as<float>() + row * p.x.strides[0];
    const float meanSquare = dotProduct(x, x, columns) / static_cast<float>(columns);
    const float inverseRms = 1.0f / std::sqrt(meanSquare + p.epsilon);
    if (p.inverseRms.given()) p.inverseRms.as<float>()[row] = inverseRms;
    const std::int64_t offset = row * p.out.strides[0];
    if (p.out.dtype == DType::bfloat16) {
      normalizeRow(x, p.weight.as<float>(), inverseRms, columns, p.out.as<BFloat16>() + offset);
    } else {
      normalizeRow(x, p.weight.as<float>(), inverseRms, columns, p.out.as<float>() + offset);
    }
  }
}

// With r = inverseRms and h = weight * gradOut: gradX += r h - x r^3 mean(h x), and the row's part
// of gradWeight is gradOut x r.
void rmsNormBackwardRows(const RmsNormBackward& p, std::int64_t begin, std::int64_t end,
                         float* HWY_RESTRICT gradWeight) {
  const FloatTag d;
  const std::int64_t columns = p.x.shape[1];
  const float* HWY_RESTRICT weight = p.weight.as<float>();
  std::fill_n(gradWeight, columns, 0.0f);
  for (std::int64_t row = begin; row < end; ++row) {
    const float* HWY_RESTRICT x = p.x.as<float>() + row * p.x.strides[0];
    const float* HWY_RESTRICT gradOut = p.gradOut.as<float>() + row * p.gradOut.strides[0];
    float* HWY_RESTRICT gradX = p.gradX.as<float>() + row * p.gradX.strides[0];
    const float inverseRms = p.inverseRms.as<float>()[row];
    const FloatVector r = hn::Set(d, inverseRms);
    FloatVector dot = hn::Zero(d);
    for (std::int64_t i = 0; i < columns; i += hn::Lanes(d)) {
      const std::size_t valid = lanesLeft(columns, i);
      const FloatVector product = hn::Mul(load(gradOut + i, valid), load(x + i, valid));
      dot = hn::MulAdd(product, load(weight + i, valid), dot);
      store(hn::MulAdd(product, r, load(gradWeight + i, valid)), gradWeight + i, valid);
    }
    const float meanDot = sumOfLanes(dot) / static_cast<float>(columns);
    const FloatVector pull = hn::Set(d, meanDot * inverseRms * inverseRms * inverseRms);
    for (std::int64_t i = 0; i < columns; i += hn::Lanes(d)) {
      const std::size_t valid = lanesLeft(columns, i);
      const FloatVector h = hn::Mul(load(gradOut + i, valid), load(weight + i, valid));
      const FloatVector added = hn::MulAdd(h, r, load(gradX + i, valid));
      store(hn::NegMulAdd(load(x + i, valid), pull, added), gradX + i, valid);
    }
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {

HWY_EXPORT(rmsNormRows);
HWY_EXPORT(rmsNormBackwardRows);

// Rows whose weight gradients are summed first: fixed, so that threads do not change the order.
constexpr std::int64_t kChunkRows = 32;

}  // namespace

void rmsNorm(const RmsNorm& p) {
  parallelFor(p.x.shape[0], rowGrain(p.x.shape[1]), [&](std::int64_t begin, std::int64_t end, int) {
    HWY_DYNAMIC_DISPATCH(rmsNormRows)(p, begin, end);
  });
}

void rmsNormBackward(const RmsNormBackward& p, Scratch& scratch) {
  const std::int64_t rows = p.x.shape[0];
  const std::int64_t columns = p.x.shape[1];
  const std::int64_t chunks = divideUp(rows, kChunkRows);
  float* partial = scratch.shared<float>(SharedScratch::first, chunks * columns);
  parallelFor(chunks, divideUp(rowGrain(columns), kChunkRows),
              [&](std::int64_t begin, std::int64_t end, int) {
                for (std::int64_t chunk = begin; chunk < end; ++chunk) {
                  const std::int64_t first = chunk * kChunkRows;
                  HWY_DYNAMIC_DISPATCH(rmsNormBackwardRows)
                  (p, first, std::min(first + kChunkRows, rows), partial + chunk * columns);
                }
              });
  float* gradWeight = p.gradWeight.as<float>();
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    for (std::int64_t i = 0; i < columns; ++i) gradWeight[i] += partial[chunk * columns + i];
  }
}

}  // namespace wgqa::cpu
#endif
