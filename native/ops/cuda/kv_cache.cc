#include "ops/cuda/kernels/kv_cache.h"

#include "ops/cuda/grids.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kAppendThreads = 128;
constexpr int kCopyThreads = 256;

int cacheIndex(DType dtype) {
  return dtype == DType::float32 ? 0 : dtype == DType::bfloat16 ? 1 : 2;
}

}  // namespace

void kvAppend(const KvAppend& p, Session& session) {
  const std::int64_t tokens = p.k.shape[0];
  const std::int64_t kvHeads = p.k.shape[1];
  const std::int64_t headDim = p.k.shape[2];
  constexpr std::int64_t kSlotBytes = 16;
  const std::int64_t sharedBytes =
      kAppendTokens * (kSlotBytes + (headDim + 1) * static_cast<std::int64_t>(sizeof(float)));
  session.launch(kKvAppend[p.k.dtype == DType::float32 ? 0 : 1][cacheIndex(p.keys.dtype)],
                 {divideUp(tokens, kAppendTokens), kvHeads, 2}, {kAppendThreads, sharedBytes},
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
