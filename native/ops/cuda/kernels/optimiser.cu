#include "ops/cuda/kernels/optimiser.h"

#include "ops/cuda/kernels/adafactor_tile.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 256;

// Elements [begin, end) of a tensor: up to `fours` four at a time, then one at a time.
struct Range {
  std::int64_t begin;
  std::int64_t fours;
  std::int64_t end;
};

WGQA_DEVICE Range rangeOf(std::int64_t part, std::int64_t elements, std::int64_t count,
                          bool isAligned) {
  const std::int64_t begin = part * elements;
  const std::int64_t end = begin + elements < count ? begin + elements : count;
  return {begin, isAligned ? end - (end - begin) % 4 : begin, end};
}

// ---------------------------------------------------------------------------- AdamW

// As PyTorch's: decoupled decay first, bias-corrected moments, epsilon outside the root.
template <int kCount>
WGQA_DEVICE void stepAdamW(const AdamWArguments& p, const AdamWTensor& tensor, float keep,
                           std::int64_t i) {
  auto value = loadVector<kCount>(tensor.value + i);
  const auto grad = loadVector<kCount>(tensor.grad + i);
  auto first = loadVector<kCount>(tensor.firstMoment + i);
  auto second = loadVector<kCount>(tensor.secondMoment + i);
  WGQA_UNROLL
  for (int j = 0; j < kCount; ++j) {
    const float g = grad.elements[j] * p.gradScale;
    float& m = first.elements[j];
    float& v = second.elements[j];
    m = p.beta1 * m + p.newShare1 * g;
    v = p.beta2 * v + p.newShare2 * g * g;
    const float root = sqrtf(v) * p.inverseRootCorrection + p.epsilon;
    value.elements[j] = value.elements[j] * keep - p.stepSize * m / root;
  }
  storeVector(tensor.value + i, value);
  storeVector(tensor.firstMoment + i, first);
  storeVector(tensor.secondMoment + i, second);
}

WGQA_KERNEL void WGQA_BOUNDS(kThreads, 4) adamW(AdamWArguments p) {
  const TensorPart part = p.parts[blockX()];
  const AdamWTensor tensor = p.tensors[part.tensor];
  const Range range = rangeOf(part.part, p.partElements, tensor.count, tensor.isAligned != 0);
  const float keep = 1.0f - p.learningRate * tensor.weightDecay;
  for (std::int64_t i = range.begin + 4 * threadIndex(); i < range.fours; i += 4 * kThreads) {
    stepAdamW<4>(p, tensor, keep, i);
  }
  for (std::int64_t i = range.fours + threadIndex(); i < range.end; i += kThreads) {
    stepAdamW<1>(p, tensor, keep, i);
  }
}

// ---------------------------------------------------------------------------- squared norm

WGQA_DEVICE double squareOf(float x) { return static_cast<double>(x) * static_cast<double>(x); }

WGQA_KERNEL void WGQA_BOUNDS(kThreads, 4) squaredNorm(SquaredNormArguments p) {
  const TensorPart part = p.parts[blockX()];
  const SquaresTensor tensor = p.tensors[part.tensor];
  const Range range = rangeOf(part.part, p.partElements, tensor.count, tensor.isAligned != 0);
  double sum = 0.0;
  WGQA_UNROLL_BY(4)
  for (std::int64_t i = range.begin + 4 * threadIndex(); i < range.fours; i += 4 * kThreads) {
    const Vector<float, 4> x = loadVector<4>(tensor.values + i);
    sum += (squareOf(x.elements[0]) + squareOf(x.elements[1])) +
           (squareOf(x.elements[2]) + squareOf(x.elements[3]));
  }
  WGQA_UNROLL_BY(4)
  for (std::int64_t i = range.fours + threadIndex(); i < range.end; i += kThreads) {
    sum += squareOf(tensor.values[i]);
  }
  sum = blockSum(sum, dynamicShared<double>());
  if (threadIndex() == 0) p.sums[blockX()] = sum;
}

// ---------------------------------------------------------------------------- Adafactor

using namespace adafactor;
static_assert(kAdafactorWarps * kWarpThreads == kThreads);

WGQA_DEVICE float decayed(const AdafactorArguments& p, float moment, float target) {
  return p.decay * moment + p.newShare * target;
}

// shared[warp][column], of all warps: the sum of a column over the warps, in their order.
WGQA_DEVICE float sumOverWarps(const float* shared, int column) {
  float sum = 0.0f;
  WGQA_UNROLL
  for (int warp = 0; warp < kAdafactorWarps; ++warp) sum += shared[warp * kWarpColumns + column];
  return sum;
}

struct SquaresBody {
  template <bool kAligned, bool kFactored>
  WGQA_DEVICE void run(const AdafactorArguments& p, const Tile& tile) {
    if constexpr (kFactored) {
      sum<kAligned>(p, tile);
    } else {
      decay<kAligned>(p, tile);
    }
  }

  template <bool kAligned>
  WGQA_DEVICE void sum(const AdafactorArguments& p, const Tile& tile) {
    float* rowSquares =
        p.squares + tile.tensor.rowSquares + tile.columnTile * padded(tile.tensor.rows);
    FourFloats columnSums{};
    for (std::int64_t row = tile.firstRow; row < tile.endRow; row += kRowStep) {
      Rows grads;
      loadRows<kAligned>(tile, tile.tensor.grad, row, grads);
      WGQA_UNROLL
      for (int i = 0; i < kInFlight; ++i) {
        float rowSum = 0.0f;
        WGQA_UNROLL
        for (int j = 0; j < 4; ++j) {
          const float g = grads[i].values[j] * p.gradScale;
          columnSums.values[j] += g * g;
          rowSum += g * g;
        }
        rowSum = warpSum(rowSum);
        const std::int64_t own = row + i * kAdafactorWarps;
        if (laneIndex() == 0 && own < tile.endRow) rowSquares[own] = rowSum;
      }
    }
    auto* shared = dynamicShared<float>();
    storeColumns<kAligned>(columnSums, shared + warpIndex() * kWarpColumns, kWarpColumns);
    blockBarrier();
    if (threadIndex() >= kWarpColumns) return;
    float* columnSquares = p.squares + tile.tensor.columnSquares +
                           tile.rowTile * padded(tile.tensor.columns) + tile.column;
    columnSquares[threadIndex()] = sumOverWarps(shared, threadIndex());
  }

  template <bool kAligned>
  WGQA_DEVICE void decay(const AdafactorArguments& p, const Tile& tile) {
    for (std::int64_t row = tile.firstRow; row < tile.endRow; row += kRowStep) {
      Rows grads;
      Rows moments;
      loadRows<kAligned>(tile, tile.tensor.grad, row, grads);
      loadRows<kAligned>(tile, tile.tensor.moment, row, moments);
      WGQA_UNROLL
      for (int i = 0; i < kInFlight; ++i) {
        WGQA_UNROLL
        for (int j = 0; j < 4; ++j) {
          const float g = grads[i].values[j] * p.gradScale;
          moments[i].values[j] = decayed(p, moments[i].values[j], g * g + p.gradEpsilon);
        }
        const std::int64_t own = row + i * kAdafactorWarps;
        storeColumns<kAligned>(moments[i], tile.tensor.moment + tile.at(own), tile.columnsOf(own));
      }
    }
  }
};

WGQA_KERNEL void WGQA_BOUNDS(kThreads, 2) adafactorSquares(AdafactorArguments p) {
  SquaresBody body;
  runOnTile(p, tileOf(p), body);
}

// One warp's share of the sums over `slices` of 128 neighbours.
WGQA_DEVICE FourFloats sumOfSlices(const float* from, std::int64_t slices, std::int64_t stride) {
  FourFloats sum{};
  WGQA_UNROLL_BY(4)
  for (std::int64_t slice = warpIndex(); slice < slices; slice += kAdafactorWarps) {
    const FourFloats share = loadColumns<true>(from + slice * stride, kWarpColumns);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) sum.values[i] += share.values[i];
  }
  return sum;
}

WGQA_KERNEL void WGQA_BOUNDS(kThreads, 4) adafactorMoments(AdafactorArguments p) {
  const TensorPart part = p.vectors[blockX()];
  const AdafactorTensor tensor = p.tensors[part.tensor];
  const bool isOfRows = part.part < tilesAcross(tensor.rows);
  const std::int64_t begin =
      (isOfRows ? part.part : part.part - tilesAcross(tensor.rows)) * kWarpColumns;
  const std::int64_t count = isOfRows ? tensor.rows : tensor.columns;
  const std::int64_t summed = isOfRows ? tensor.columns : tensor.rows;  // in each
  const std::int64_t slices =
      isOfRows ? tilesAcross(tensor.columns) : (tensor.rows + p.tileRows - 1) / p.tileRows;
  const float* squares = p.squares + (isOfRows ? tensor.rowSquares : tensor.columnSquares) + begin;
  auto* shared = dynamicShared<float>();
  storeColumns<true>(sumOfSlices(squares, slices, padded(count)),
                     shared + warpIndex() * kWarpColumns, kWarpColumns);
  blockBarrier();
  if (threadIndex() >= warpColumnsAt(begin, count)) return;
  float* moment = (isOfRows ? tensor.rowMoment : tensor.columnMoment) + begin + threadIndex();
  const float mean = sumOverWarps(shared, threadIndex()) / static_cast<float>(summed);
  *moment = decayed(p, *moment, mean + p.gradEpsilon);
}

WGQA_KERNEL void WGQA_BOUNDS(kThreads, 1) adafactorRowMeans(AdafactorArguments p) {
  const AdafactorTensor tensor = p.tensors[blockX()];
  if (tensor.rowMoment == nullptr) return;
  float sum = 0.0f;
  WGQA_UNROLL_BY(8)
  for (std::int64_t i = threadIndex(); i < tensor.rows; i += kThreads) sum += tensor.rowMoment[i];
  sum = blockSum(sum, dynamicShared<float>());
  if (threadIndex() == 0) p.outcomes[blockX()].rowMean = sum / static_cast<float>(tensor.rows);
}

// ---------------------------------------------------------------------------- Adafactor's update

WGQA_DEVICE float sumOfSquares(const Rows& rows) {
  float sum = 0.0f;
  WGQA_UNROLL
  for (int i = 0; i < kInFlight; ++i) {
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) sum += rows[i].values[j] * rows[i].values[j];
  }
  return sum;
}

// The sums over the block, in thread 0.
WGQA_DEVICE AdafactorSquares blockSums(AdafactorSquares own) {
  auto* shared = dynamicShared<double>();
  own.update = blockSum(own.update, shared);
  blockBarrier();  // the second sum uses the same memory
  own.value = blockSum(own.value, shared);
  return own;
}

struct UpdateSquaresBody {
  AdafactorSquares sums{0.0, 0.0};

  template <bool kAligned, bool kFactored>
  WGQA_DEVICE void run(const AdafactorArguments& p, const Tile& tile) {
    const Updates<kAligned, kFactored> updates(p, tile);
    for (std::int64_t row = tile.firstRow; row < tile.endRow; row += kRowStep) {
      Rows values{};
      Rows own;
      if (p.scalesByParameter != 0) loadRows<kAligned>(tile, tile.tensor.value, row, values);
      updates.of(p, tile, row, own);
      sums.update += static_cast<double>(sumOfSquares(own));
      sums.value += static_cast<double>(sumOfSquares(values));
    }
  }
};

WGQA_KERNEL void WGQA_BOUNDS(kThreads, 2) adafactorUpdateSquares(AdafactorArguments p) {
  UpdateSquaresBody body;
  runOnTile(p, tileOf(p), body);
  const AdafactorSquares sums = blockSums(body.sums);
  if (threadIndex() == 0) p.tileSums[blockX()] = sums;
}

WGQA_KERNEL void WGQA_BOUNDS(kThreads, 1) adafactorRates(AdafactorArguments p) {
  const AdafactorTensor tensor = p.tensors[blockX()];
  AdafactorSquares sums{0.0, 0.0};
  WGQA_UNROLL_BY(4)
  for (int i = threadIndex(); i < tensor.tileCount; i += kThreads) {
    const AdafactorSquares tile = p.tileSums[tensor.firstTile + i];
    sums.update += tile.update;
    sums.value += tile.value;
  }
  sums = blockSums(sums);
  if (threadIndex() != 0) return;
  const auto count = static_cast<double>(tensor.count);
  const auto updateRms = static_cast<float>(sqrt(sums.update / count));
  const auto valueRms = static_cast<float>(sqrt(sums.value / count));
  const float clip = fmaxf(1.0f, updateRms / p.clipThreshold);
  const float scale = p.scalesByParameter != 0 ? fmaxf(p.parameterEpsilon, valueRms) : 1.0f;
  const float rate = p.learningRate * scale;
  p.outcomes[blockX()].keep = 1.0f - rate * tensor.weightDecay;
  p.outcomes[blockX()].rate = rate / clip;
}

struct UpdateBody {
  template <bool kAligned, bool kFactored>
  WGQA_DEVICE void run(const AdafactorArguments& p, const Tile& tile) {
    const AdafactorOutcome outcome = p.outcomes[p.tiles[blockX()].tensor];
    const Updates<kAligned, kFactored> updates(p, tile);
    for (std::int64_t row = tile.firstRow; row < tile.endRow; row += kRowStep) {
      Rows values;
      Rows own;
      loadRows<kAligned>(tile, tile.tensor.value, row, values);
      updates.of(p, tile, row, own);
      WGQA_UNROLL
      for (int i = 0; i < kInFlight; ++i) {
        WGQA_UNROLL
        for (int j = 0; j < 4; ++j) {
          values[i].values[j] =
              outcome.keep * values[i].values[j] - outcome.rate * own[i].values[j];
        }
        const std::int64_t at = row + i * kAdafactorWarps;
        storeColumns<kAligned>(values[i], tile.tensor.value + tile.at(at), tile.columnsOf(at));
      }
    }
  }
};

WGQA_KERNEL void WGQA_BOUNDS(kThreads, 2) adafactorUpdate(AdafactorArguments p) {
  UpdateBody body;
  runOnTile(p, tileOf(p), body);
}

}  // namespace

std::vector<KernelEntry> optimiserKernels() {
  return {kernelEntry<adamW>(kAdamW),
          kernelEntry<squaredNorm>(kSquaredNorm),
          kernelEntry<adafactorSquares>(kAdafactorSquares),
          kernelEntry<adafactorMoments>(kAdafactorMoments),
          kernelEntry<adafactorRowMeans>(kAdafactorRowMeans),
          kernelEntry<adafactorUpdateSquares>(kAdafactorUpdateSquares),
          kernelEntry<adafactorRates>(kAdafactorRates),
          kernelEntry<adafactorUpdate>(kAdafactorUpdate)};
}

}  // namespace wgqa::cuda
