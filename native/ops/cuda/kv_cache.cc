#include "ops/cuda/kernels/kv_cache.h"

#include "ops/cuda/grids.h"
#include "ops/cuda/kernel_types.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kAppendThreads = 128;
constexpr int kCopyThreads = 256;

// Of an odd length, so that a component of several tokens lies in different banks.
std::int64_t rowStride(std::int64_t headDim) { return headDim | 1; }

std::int64_t appendBytes(std::int64_t tokens, std::int64_t headDim) {
  return tokens * (static_cast<std::int64_t>(sizeof(AppendSlot)) +
                   rowStride(headDim) * static_cast<std::int64_t>(sizeof(float)));
}

// Tokens of a block of threads: many, so that keys are written along them, but fewer where the
// device would stand idle, as in a decoding step, or where heads are so large that few blocks fit.
std::int64_t appendTokens(const KvAppend& p, std::int64_t multiprocessors) {
  constexpr std::int64_t kMostSharedBytes = 20 << 10;
  constexpr std::int64_t kBlocksPerMultiprocessor = 2;
  const std::int64_t rows = 2 * p.k.shape[0] * p.k.shape[1];  // keys' and values'
  std::int64_t tokens = kMostAppendTokens;
  const auto isTooMany = [&] {
    return appendBytes(tokens, p.k.shape[2]) > kMostSharedBytes ||
           rows < tokens * kBlocksPerMultiprocessor * multiprocessors;
  };
  while (tokens > 1 && isTooMany()) tokens /= 2;
  return tokens;
}

}  // namespace

void kvAppend(const KvAppend& p, Session& session) {
  const std::int64_t tokens = p.k.shape[0];
  const std::int64_t kvHeads = p.k.shape[1];
  const std::int64_t headDim = p.k.shape[2];
  const std::int64_t tileTokens = appendTokens(p, session.multiprocessors());
  session.launch(kKvAppend[floatIndex(p.k.dtype)][cacheIndex(p.keys.dtype)],
                 {divideUp(tokens, tileTokens), kvHeads, 2},
                 {kAppendThreads, appendBytes(tileTokens, headDim)},
                 {.k = p.k.data,
                  .v = p.v.data,
                  .slots = session.table(p.slots),
                  .keys = p.keys.data,
                  .values = p.values.data,
                  .keyScales = p.keyScales.as<float>(),
                  .valueScales = p.valueScales.as<float>(),
                  .keyStride = p.keys.strides[0],
                  .valueStride = p.values.strides[0],
                  .scaleStride = p.keyScales.strides[0],
                  .tokens = tokens,
                  .tileTokens = static_cast<std::int32_t>(tileTokens),
                  .rowStride = static_cast<std::int32_t>(rowStride(headDim)),
                  .kvHeads = static_cast<std::int32_t>(kvHeads),
                  .headDim = static_cast<std::int32_t>(headDim),
                  .blockTokens = static_cast<std::int32_t>(p.keys.shape[3])});
}

void copyBlocks(const CopyBlocks& p, Session& session) {
  require(p.blocks.shape[2] % 4 == 0, "blocks are copied in words");
  session.launch(kCopyBlocks, {std::ssize(p.sources), p.blocks.shape[0]}, {kCopyThreads},
                 {.blocks = p.blocks.as<std::byte>(),
                  .sources = session.table(p.sources),
                  .destinations = session.table(p.destinations),
                  .layerBytes = p.blocks.strides[0],
                  .blockBytes = p.blocks.shape[2]});
}

}  // namespace wgqa::cuda
