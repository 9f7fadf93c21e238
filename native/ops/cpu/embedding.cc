#include <cstddef>

#include "base/parallel.h"
#include "ops/cpu/cast.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

namespace wgqa::cpu {

void embedding(const Embedding& p) {
  const std::int64_t columns = p.table.shape[1];
  const std::int64_t rowBytes =
      p.table.strides[0] * static_cast<std::int64_t>(bytesOf(p.table.dtype));
  const auto copyRows = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t token = begin; token < end; ++token) {
      convertElements(p.table.as<std::byte>() + p.ids[token] * rowBytes, p.table.dtype,
                      p.out.as<float>() + token * p.out.strides[0], DType::float32, columns);
    }
  };
  parallelFor(static_cast<std::int64_t>(p.ids.size()), rowGrain(columns), copyRows);
}

// Threads divide the columns, not the tokens: each adds in the order of the tokens, so repeated ids
// neither race nor depend on the number of threads.
void embeddingBackward(const EmbeddingBackward& p) {
  const auto tokens = static_cast<std::int64_t>(p.ids.size());
  constexpr std::int64_t kLineFloats = kBufferAlignmentBytes / sizeof(float);
  const std::int64_t columns = p.gradTable.shape[1];
  const auto addColumns = [&](std::int64_t firstLine, std::int64_t lastLine, int) {
    const std::int64_t begin = firstLine * kLineFloats;
    const std::int64_t end = std::min(lastLine * kLineFloats, columns);
    for (std::int64_t token = 0; token < tokens; ++token) {
      const float* from = p.gradOut.as<float>() + token * p.gradOut.strides[0];
      float* to = p.gradTable.as<float>() + p.ids[token] * p.gradTable.strides[0];
      for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
    }
  };
  parallelFor(divideUp(columns, kLineFloats), rowGrain(tokens * kLineFloats), addColumns);
}

}  // namespace wgqa::cpu
