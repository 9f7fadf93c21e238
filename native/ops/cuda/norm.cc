#include "ops/cuda/kernels/norm.h"

#include "ops/cuda/grids.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kRowThreads = 256;
constexpr int kWeightThreads = 128;
constexpr std::int64_t kColumnsPerBlock = 4 * kWeightThreads;
constexpr std::int64_t kMostSlices = 128;
constexpr std::int64_t kFewestRows = 8;  // of a slice

// Threads for one row: no more than have four columns to do.
int rowThreads(std::int64_t columns) {
  const std::int64_t warps = divideUp(divideUp(columns, 4), kWarpThreadCount);
  return static_cast<int>(std::min<std::int64_t>(warps * kWarpThreadCount, kRowThreads));
}

}  // namespace

void rmsNorm(const RmsNorm& p, Session& session) {
  const auto kernel = p.out.dtype == DType::bfloat16 ? kRmsNormBFloat16 : kRmsNormFloat32;
  session.launch(kernel, {p.x.shape[0]}, {rowThreads(p.x.shape[1]), kReduceBytes},
                 {.x = p.x.as<float>(),
                  .weight = p.weight.as<float>(),
                  .out = p.out.data,
                  .inverseRms = p.inverseRms.as<float>(),
                  .columns = p.x.shape[1],
                  .epsilon = p.epsilon});
}

void rmsNormBackward(const RmsNormBackward& p, Session& session) {
  const std::int64_t rows = p.x.shape[0];
  const std::int64_t columns = p.x.shape[1];
  session.launch(kRmsNormBackward, {rows}, {rowThreads(columns), kReduceBytes},
                 {.x = p.x.as<float>(),
                  .weight = p.weight.as<float>(),
                  .inverseRms = p.inverseRms.as<float>(),
                  .gradOut = p.gradOut.as<float>(),
                  .gradX = p.gradX.as<float>(),
                  .columns = columns});
  const std::int64_t rowsPerSlice = std::max(divideUp(rows, kMostSlices), kFewestRows);
  const std::int64_t slices = divideUp(rows, rowsPerSlice);
  auto* partial = session.scratch<float>(Session::Scratch::first, slices * columns);
  session.launch(kRmsNormWeight, {divideUp(columns, kColumnsPerBlock), slices}, {kWeightThreads},
                 {.x = p.x.as<float>(),
                  .inverseRms = p.inverseRms.as<float>(),
                  .gradOut = p.gradOut.as<float>(),
                  .partial = partial,
                  .rows = rows,
                  .rowsPerSlice = rowsPerSlice,
                  .columns = columns});
  sumSlices(partial, slices, columns, p.gradWeight.as<float>(), session);
}

void sumSlices(const float* partial, std::int64_t slices, std::int64_t count, float* out,
               Session& session) {
  session.launch(kSumSlices, {divideUp(count, kWeightThreads)}, {kWeightThreads},
                 {.partial = partial, .out = out, .slices = slices, .count = count});
}

}  // namespace wgqa::cuda
