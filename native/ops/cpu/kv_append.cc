#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/kv_append.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <algorithm>
#include <functional>
#include <type_traits>

#include "base/parallel.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/quantise.h"
#include "ops/cpu/scratch.h"
#include "ops/cpu/tile_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Tokens [first, first + count) of k and v, which go to places one behind the other of one block.
struct Run {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t slot = 0;  // of the first
};

// Keys are turned a square of this size at a time.
constexpr int kSquare = 16;

// One token's key of one head, [headDim], as a column of a block.
template <typename T>
void storeColumn(const float* from, int headDim, T* to, std::int64_t stride) {
  for (int i = 0; i < headDim; ++i, to += stride) {
    if constexpr (std::is_same_v<T, float>) {
      *to = from[i];
    } else {
      *to = toBFloat16(from[i]);
    }
  }
}

// Several tokens' keys of one head as columns.
template <typename T>
void storeColumns(const float* from, std::int64_t fromStride, int tokens, int headDim, T* to,
                  std::int64_t stride) {
  HWY_ALIGN float square[kSquare * kSquare];
  for (int i = 0; i < headDim; i += kSquare) {
    const int components = std::min(kSquare, headDim - i);
    packTransposed(from + i, fromStride, tokens, components, square, kSquare);
    for (int j = 0; j < components; ++j) {
      copyRow(square + j * kSquare, tokens, to + (i + j) * stride);
    }
  }
}

template <typename T>
void appendKeys(const KvAppend& p, const Run& run) {
  const std::int64_t heads = p.k.shape[1];
  const int headDim = static_cast<int>(p.k.shape[2]);
  const std::int64_t blockTokens = p.keys.shape[3];
  const std::int64_t tokenStride = heads * headDim;
  T* block = p.keys.as<T>() + run.slot / blockTokens * p.keys.strides[0] + run.slot % blockTokens;
  for (std::int64_t done = 0; done < run.count; done += kSquare) {
    const int tokens = static_cast<int>(std::min<std::int64_t>(kSquare, run.count - done));
    const float* from = p.k.as<float>() + (run.first + done) * tokenStride;
    T* to = block + done;
    for (std::int64_t head = 0; head < heads; ++head, from += headDim, to += p.keys.strides[1]) {
      if (tokens == 1) {
        storeColumn(from, headDim, to, blockTokens);
      } else {
        storeColumns(from, tokenStride, tokens, headDim, to, blockTokens);
      }
    }
  }
}

template <typename T>
void appendValues(const KvAppend& p, const Run& run) {
  const std::int64_t heads = p.v.shape[1];
  const int headDim = static_cast<int>(p.v.shape[2]);
  const std::int64_t blockTokens = p.values.shape[2];
  const float* from = p.v.as<float>() + run.first * heads * headDim;
  T* block = p.values.as<T>() + run.slot / blockTokens * p.values.strides[0] +
             run.slot % blockTokens * headDim;
  for (std::int64_t token = 0; token < run.count; ++token) {
    for (std::int64_t head = 0; head < heads; ++head, from += headDim) {
      copyRow(from, headDim, block + token * headDim + head * p.values.strides[1]);
    }
  }
}

// Calls quantise(row, block, head, place, scale) for every row of a run: a token's key or value of
// one head, and where it belongs.
template <typename Quantise>
void forEachRow(const ConstTensorView& rows, const TensorView& scales, const Run& run,
                const Quantise& quantise) {
  const std::int64_t heads = rows.shape[1];
  const std::int64_t headDim = rows.shape[2];
  const std::int64_t block = run.slot / scales.shape[2];
  const float* row = rows.as<float>() + run.first * heads * headDim;
  for (std::int64_t token = 0; token < run.count; ++token) {
    const std::int64_t place = run.slot % scales.shape[2] + token;
    for (std::int64_t head = 0; head < heads; ++head, row += headDim) {
      float& scale =
          scales.as<float>()[block * scales.strides[0] + head * scales.strides[1] + place];
      quantise(row, block, head, place, scale);
    }
  }
}

void quantiseKeys(const KvAppend& p, const Run& run, std::int8_t* integers) {
  const std::int64_t headDim = p.k.shape[2];
  forEachRow(p.k, p.keyScales, run,
             [&](const float* key, std::int64_t block, std::int64_t head, std::int64_t place,
                 float& scale) {
               std::int8_t* to = p.keys.as<std::int8_t>() + block * p.keys.strides[0] +
                                 head * p.keys.strides[1] + place;
               quantiseRow(key, headDim, integers, scale);
               for (std::int64_t i = 0; i < headDim; ++i) to[i * p.keys.shape[3]] = integers[i];
             });
}

void quantiseValues(const KvAppend& p, const Run& run) {
  const std::int64_t headDim = p.v.shape[2];
  forEachRow(p.v, p.valueScales, run,
             [&](const float* value, std::int64_t block, std::int64_t head, std::int64_t place,
                 float& scale) {
               std::int8_t* to = p.values.as<std::int8_t>() + block * p.values.strides[0] +
                                 head * p.values.strides[1] + place * headDim;
               quantiseRow(value, headDim, to, scale);
             });
}

// `integers`: room for one key.
void appendRun(const KvAppend& p, const Run& run, std::int8_t* integers) {
  switch (p.keys.dtype) {
    case DType::bfloat16:
      appendKeys<BFloat16>(p, run);
      return appendValues<BFloat16>(p, run);
    case DType::int8:
      quantiseKeys(p, run, integers);
      return quantiseValues(p, run);
    default:
      appendKeys<float>(p, run);
      appendValues<float>(p, run);
  }
}

void appendTokens(const KvAppend& p, std::int64_t begin, std::int64_t end, std::int8_t* integers) {
  const std::int64_t blockTokens = p.keys.shape[3];
  for (Run run{begin, 1, 0}; run.first < end; run.first += run.count) {
    run.slot = p.slots[run.first];
    run.count = 1;
    const std::int64_t most = std::min(end - run.first, blockTokens - run.slot % blockTokens);
    while (run.count < most && p.slots[run.first + run.count] == run.slot + run.count) ++run.count;
    appendRun(p, run, integers);
  }
}

void append(const KvAppend& p, const ThreadSlices<std::int8_t>& integers) {
  const auto range = [&](std::int64_t begin, std::int64_t end, int thread) {
    appendTokens(p, begin, end, integers.of(thread));
  };
  const std::int64_t elements = 2 * p.k.shape[1] * p.k.shape[2];
  parallelFor(static_cast<std::int64_t>(p.slots.size()), rowGrain(elements), std::cref(range));
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {

HWY_EXPORT(append);

void kvAppend(const KvAppend& p, Scratch& scratch) {
  const auto headDim = static_cast<std::size_t>(p.k.shape[2]);
  HWY_DYNAMIC_DISPATCH(append)(p, scratch.perThread<std::int8_t>(threadCount(), headDim));
}

}  // namespace wgqa::cpu
#endif
