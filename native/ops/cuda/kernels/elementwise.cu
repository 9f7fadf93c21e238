#include "ops/cuda/kernels/elementwise.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// Four neighbours of a row: where they begin, and how many there are.
struct Place {
  std::int64_t row;
  std::int64_t column;
  std::int64_t index;
  int valid;
};

WGQA_DEVICE std::int64_t groupsOfRow(std::int64_t columns) {
  return (columns + kColumnsPerThread - 1) / kColumnsPerThread;
}

WGQA_DEVICE Place placeOf(std::int64_t group, std::int64_t columns) {
  const std::int64_t row = group / groupsOfRow(columns);
  const std::int64_t column = group % groupsOfRow(columns) * kColumnsPerThread;
  const std::int64_t left = columns - column;
  return {row, column, row * columns + column,
          static_cast<int>(left < kColumnsPerThread ? left : kColumnsPerThread)};
}

WGQA_DEVICE std::int64_t gridThread() {
  return static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex();
}

WGQA_DEVICE std::int64_t gridThreads() {
  return static_cast<std::int64_t>(gridX()) * blockThreads();
}

// What dropout multiplies four neighbours by.
WGQA_DEVICE FourFloats factorsAt(const DropoutArguments& dropout, const Place& place) {
  if (dropout.threshold == 0) return {{1.0f, 1.0f, 1.0f, 1.0f}};
  const RandomWords random =
      randomWords(dropout, static_cast<std::uint32_t>(place.row),
                  static_cast<std::uint32_t>(place.column / kColumnsPerThread));
  FourFloats factors;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) factors.values[i] = dropoutFactor(dropout, random.words[i]);
  return factors;
}

template <typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) dropout(DropoutKernelArguments p) {
  const std::int64_t groups = p.rows * groupsOfRow(p.columns);
  for (std::int64_t group = gridThread(); group < groups; group += gridThreads()) {
    const Place place = placeOf(group, p.columns);
    FourFloats x = loadFour(p.x + place.index, place.valid);
    const FourFloats factors = factorsAt(p.dropout, place);
    FourFloats residual{};
    if (p.residual != nullptr) residual = loadFour(p.residual + place.index, place.valid);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) x.values[i] = residual.values[i] + x.values[i] * factors.values[i];
    storeFour(x, static_cast<Out*>(p.out) + place.index, place.valid);
  }
}

// ---------------------------------------------------------------------------- activations

struct Activated {
  float value;
  float slope;
};

WGQA_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

struct Relu {
  WGQA_DEVICE static Activated at(float z) {
    return {z <= 0.0f ? 0.0f : z, z > 0.0f ? 1.0f : 0.0f};
  }
};

struct Silu {
  WGQA_DEVICE static Activated at(float z) {
    const float s = sigmoid(z);
    const float value = z * s;
    return {value, value * (1.0f - s) + s};
  }
};

// z Phi(z) with the normal distribution Phi(z) = erfc(-z / sqrt(2)) / 2.
struct Gelu {
  WGQA_DEVICE static Activated at(float z) {
    constexpr float kInverseRoot = 0.7071067811865475f;  // 1 / sqrt(2)
    constexpr float kDensity = 0.3989422804014327f;      // 1 / sqrt(2 pi)
    const float distribution = 0.5f * erfcf(-kInverseRoot * z);
    return {z * distribution, z * kDensity * expf(-0.5f * z * z) + distribution};
  }
};

// 0.5 z (1 + tanh(u)) = z sigmoid(2 u) with u = sqrt(2 / pi) (z + 0.044715 z^3).
struct GeluTanh {
  WGQA_DEVICE static Activated at(float z) {
    constexpr float kTwiceRoot = 1.5957691216057308f;  // 2 sqrt(2 / pi)
    constexpr float kCubic = 0.044715f;
    const float square = z * z;
    const float s = sigmoid(kTwiceRoot * z * (square * kCubic + 1.0f));
    const float value = z * s;
    return {value, value * (1.0f - s) * kTwiceRoot * (square * (3.0f * kCubic) + 1.0f) + s};
  }
};

template <typename Function, typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) gatedActivation(GatedActivationArguments p) {
  const std::int64_t groups = p.rows * groupsOfRow(p.columns);
  for (std::int64_t group = gridThread(); group < groups; group += gridThreads()) {
    const Place place = placeOf(group, p.columns);
    FourFloats x = loadFour(p.gate + place.index, place.valid);
    const FourFloats factors = factorsAt(p.dropout, place);
    FourFloats linear{{1.0f, 1.0f, 1.0f, 1.0f}};
    if (p.linear != nullptr) linear = loadFour(p.linear + place.index, place.valid);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      x.values[i] = Function::at(x.values[i]).value * linear.values[i] * factors.values[i];
    }
    storeFour(x, static_cast<Out*>(p.out) + place.index, place.valid);
  }
}

template <typename Function, typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) gatedActivationBackward(GatedActivationBackwardArguments p) {
  const std::int64_t groups = p.rows * groupsOfRow(p.columns);
  for (std::int64_t group = gridThread(); group < groups; group += gridThreads()) {
    const Place place = placeOf(group, p.columns);
    const FourFloats gate = loadFour(p.gate + place.index, place.valid);
    const FourFloats grad = loadFour(p.gradOut + place.index, place.valid);
    const FourFloats factors = factorsAt(p.dropout, place);
    FourFloats linear{{1.0f, 1.0f, 1.0f, 1.0f}};
    if (p.linear != nullptr) linear = loadFour(p.linear + place.index, place.valid);
    FourFloats gradGate;
    FourFloats gradLinear;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const Activated activated = Function::at(gate.values[i]);
      const float kept = grad.values[i] * factors.values[i];
      gradGate.values[i] = kept * linear.values[i] * activated.slope;
      gradLinear.values[i] = kept * activated.value;
    }
    storeFour(gradGate, static_cast<Out*>(p.gradGate) + place.index, place.valid);
    if (p.gradLinear == nullptr) continue;
    storeFour(gradLinear, static_cast<Out*>(p.gradLinear) + place.index, place.valid);
  }
}

// Neighbours in accesses of at most 16 bytes.
template <typename T>
struct CastElements {
  static constexpr int kPerAccess =
      kPer16Bytes<T> < kCastPerThread ? kPer16Bytes<T> : kCastPerThread;
  static constexpr int kAccesses = kCastPerThread / kPerAccess;
  Vector<T, kPerAccess> accesses[kAccesses];

  WGQA_DEVICE static bool areAligned(const T* pointer) { return isAlignedFor<kPerAccess>(pointer); }
  WGQA_DEVICE void load(const T* from) {
    WGQA_UNROLL
    for (int i = 0; i < kAccesses; ++i) accesses[i] = loadVector<kPerAccess>(from + i * kPerAccess);
  }
  WGQA_DEVICE void store(T* to) const {
    WGQA_UNROLL
    for (int i = 0; i < kAccesses; ++i) storeVector(to + i * kPerAccess, accesses[i]);
  }
  WGQA_DEVICE T& at(int i) { return accesses[i / kPerAccess].elements[i % kPerAccess]; }
};

template <typename In, typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) cast(CastArguments p) {
  const auto* x = static_cast<const In*>(p.x);
  auto* out = static_cast<Out*>(p.out);
  const bool areAligned = CastElements<In>::areAligned(x) && CastElements<Out>::areAligned(out);
  const std::int64_t pieces = areAligned ? p.count / kCastPerThread : 0;
  for (std::int64_t piece = gridThread(); piece < pieces; piece += gridThreads()) {
    CastElements<In> from;
    CastElements<Out> to;
    from.load(x + piece * kCastPerThread);
    WGQA_UNROLL
    for (int i = 0; i < kCastPerThread; ++i) round(widen(from.at(i)), to.at(i));
    to.store(out + piece * kCastPerThread);
  }
  const std::int64_t rest = pieces * kCastPerThread;
  for (std::int64_t i = rest + gridThread(); i < p.count; i += gridThreads()) {
    round(widen(x[i]), out[i]);
  }
}

using Float16 = Float16Element;
using BFloat16 = BFloat16Element;

}  // namespace

std::vector<KernelEntry> elementwiseKernels() {
  return {kernelEntry<dropout<float>>(kDropoutFloat32),
          kernelEntry<dropout<BFloat16>>(kDropoutBFloat16),
          kernelEntry<gatedActivation<Relu, float>>(kGatedFloat32[0]),
          kernelEntry<gatedActivation<Gelu, float>>(kGatedFloat32[1]),
          kernelEntry<gatedActivation<GeluTanh, float>>(kGatedFloat32[2]),
          kernelEntry<gatedActivation<Silu, float>>(kGatedFloat32[3]),
          kernelEntry<gatedActivation<Relu, BFloat16>>(kGatedBFloat16[0]),
          kernelEntry<gatedActivation<Gelu, BFloat16>>(kGatedBFloat16[1]),
          kernelEntry<gatedActivation<GeluTanh, BFloat16>>(kGatedBFloat16[2]),
          kernelEntry<gatedActivation<Silu, BFloat16>>(kGatedBFloat16[3]),
          kernelEntry<gatedActivationBackward<Relu, float>>(kGatedBackwardFloat32[0]),
          kernelEntry<gatedActivationBackward<Gelu, float>>(kGatedBackwardFloat32[1]),
          kernelEntry<gatedActivationBackward<GeluTanh, float>>(kGatedBackwardFloat32[2]),
          kernelEntry<gatedActivationBackward<Silu, float>>(kGatedBackwardFloat32[3]),
          kernelEntry<gatedActivationBackward<Relu, BFloat16>>(kGatedBackwardBFloat16[0]),
          kernelEntry<gatedActivationBackward<Gelu, BFloat16>>(kGatedBackwardBFloat16[1]),
          kernelEntry<gatedActivationBackward<GeluTanh, BFloat16>>(kGatedBackwardBFloat16[2]),
          kernelEntry<gatedActivationBackward<Silu, BFloat16>>(kGatedBackwardBFloat16[3]),
          kernelEntry<cast<float, float>>(kCast[0][0]),
          kernelEntry<cast<float, Float16>>(kCast[0][1]),
          kernelEntry<cast<float, BFloat16>>(kCast[0][2]),
          kernelEntry<cast<Float16, float>>(kCast[1][0]),
          kernelEntry<cast<Float16, Float16>>(kCast[1][1]),
          kernelEntry<cast<Float16, BFloat16>>(kCast[1][2]),
          kernelEntry<cast<BFloat16, float>>(kCast[2][0]),
          kernelEntry<cast<BFloat16, Float16>>(kCast[2][1]),
          kernelEntry<cast<BFloat16, BFloat16>>(kCast[2][2])};
}

}  // namespace wgqa::cuda
