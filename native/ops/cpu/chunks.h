// Several tensors cut into chunks of fixed size, so that one parallel region covers them all and
// sums taken chunk by chunk do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/parallel.h"
#include "ops/cpu/grain.h"

namespace wgqa::cpu {

inline constexpr std::int64_t kChunkElements = 16384;

/// The number of chunks of `count` tensors; elementsOf(i) is the size of tensor i.
template <class ElementsOf>
std::int64_t countChunks(std::int64_t count, const ElementsOf& elementsOf) {
  std::int64_t chunks = 0;
  for (std::int64_t i = 0; i < count; ++i) chunks += divideUp(elementsOf(i), kChunkElements);
  return chunks;
}

/// Calls body(tensor, begin, end, chunk) for every chunk [begin, end) of every tensor, in parallel;
/// `chunk` counts through all of them.
template <class ElementsOf, class Body>
void forEachChunk(std::int64_t count, const ElementsOf& elementsOf, const Body& body) {
  const std::int64_t chunks = countChunks(count, elementsOf);
  constexpr std::int64_t kGrain = kGrainElements / kChunkElements;
  parallelFor(chunks, kGrain, [&](std::int64_t firstChunk, std::int64_t lastChunk, int) {
    std::int64_t passed = 0;
    for (std::int64_t tensor = 0; tensor < count && passed < lastChunk; ++tensor) {
      const std::int64_t elements = elementsOf(tensor);
      const std::int64_t own = divideUp(elements, kChunkElements);
      const std::int64_t from = std::max(firstChunk, passed);
      const std::int64_t to = std::min(lastChunk, passed + own);
      for (std::int64_t chunk = from; chunk < to; ++chunk) {
        const std::int64_t begin = (chunk - passed) * kChunkElements;
        body(tensor, begin, std::min(begin + kChunkElements, elements), chunk);
      }
      passed += own;
    }
  });
}

}  // namespace wgqa::cpu
