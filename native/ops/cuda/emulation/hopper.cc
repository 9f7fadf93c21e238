#include "ops/cuda/emulation/hopper.h"

#include <cstring>

#include "base/error.h"

namespace wgqa::cuda {
namespace {

constexpr int kBoxRowBytes = 2 * kTensorBoxColumns;
constexpr int kPatternBytes = 1024;  // after which the permutation repeats

void settle(SharedBarrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  barrier.parity ^= 1;
  barrier.missing = barrier.arrivals;
}

int offsetInShared(const void* address) {
  return static_cast<int>(static_cast<const unsigned char*>(address) - emulation::self().shared);
}

struct Box {
  TensorBoxes tensor;
  int column;
  int head;
  int token;
};

void copyNow(const Box& box, unsigned char* to) {
  const TensorBoxes& tensor = box.tensor;
  const auto* from = static_cast<const unsigned char*>(tensor.data);
  for (int row = 0; row < tensor.boxTokens; ++row) {
    const std::int64_t token = std::int64_t{box.token} + row;
    for (int chunk = 0; chunk < kBoxRowBytes / 16; ++chunk) {
      unsigned char* place = to + row * kBoxRowBytes + (chunk ^ row % 8) * 16;
      const int column = box.column + 8 * chunk;
      const bool isInside = token >= 0 && token < tensor.tokens && box.head >= 0 &&
                            box.head < tensor.heads && column >= 0 && column < tensor.columns;
      const std::int64_t element = (token * tensor.heads + box.head) * tensor.columns + column;
      isInside ? std::memcpy(place, from + 2 * element, 16) : std::memset(place, 0, 16);
    }
  }
}

}  // namespace

// ---------------------------------------------------------------------------- barriers

void initialise(SharedBarrier& barrier, int arrivals) {
  emulation::requireAligned(&barrier, sizeof(barrier));
  barrier = {0, static_cast<std::uint8_t>(arrivals), static_cast<std::uint16_t>(arrivals), 0};
}

void arrive(SharedBarrier& barrier) {
  require(barrier.parity <= 1, "a barrier in shared memory was not initialised");
  require(barrier.missing > 0, "more arrivals than a barrier has in a phase");
  --barrier.missing;
  settle(barrier);
}

void arriveExpecting(SharedBarrier& barrier, int bytes) {
  barrier.bytes += bytes;
  arrive(barrier);
}

void waitFor(SharedBarrier& barrier, int parity) {
  require(barrier.parity <= 1, "a barrier in shared memory was not initialised");
  emulation::waitUntil([&barrier, parity] { return barrier.parity != parity; });
}

// ---------------------------------------------------------------------------- copies

namespace emulation {

void describe(const TensorBoxes& boxes, TensorMap& map) {
  static_assert(sizeof(TensorBoxes) <= sizeof(TensorMap));
  requireAligned(boxes.data, 16);
  require(boxes.tokens > 0 && boxes.heads > 0 && boxes.columns > 0 && boxes.columns % 8 == 0,
          "a tensor map of an odd or empty tensor");
  require(boxes.boxTokens > 0 && boxes.boxTokens <= 256, "a box of more than 256 tokens");
  map = {};
  std::memcpy(map.words, &boxes, sizeof(boxes));
}

}  // namespace emulation

void copyBox(void* shared, const TensorMap& map, int column, int head, int token,
             SharedBarrier& full) {
  require(offsetInShared(shared) % kPatternBytes == 0, "a box is not on a multiple of 1,024 bytes");
  Box box{{}, column, head, token};
  std::memcpy(&box.tensor, map.words, sizeof(box.tensor));
  emulation::deliverLater([box, to = static_cast<unsigned char*>(shared), &full] {
    copyNow(box, to);
    full.bytes -= box.tensor.boxTokens * kBoxRowBytes;
    settle(full);
  });
}

void copyBytes(void* shared, const void* device, int bytes, SharedBarrier& full) {
  emulation::requireAligned(shared, 16);
  emulation::requireAligned(device, 16);
  require(bytes % 16 == 0, "a copy of bytes that are no multiple of 16");
  emulation::deliverLater([=, &full] {
    std::memcpy(shared, device, static_cast<std::size_t>(bytes));
    full.bytes -= bytes;
    settle(full);
  });
}

// ---------------------------------------------------------------------------- products

SharedMatrix sharedMatrix(const void* first, int leadingBytes) {
  const int offset = offsetInShared(first);
  require(offset % kPatternBytes == 0, "a matrix is not on a multiple of 1,024 bytes");
  return {static_cast<std::uint64_t>(offset >> 4 & 0x3fff) |
          static_cast<std::uint64_t>(leadingBytes >> 4) << 16 |
          std::uint64_t{kPatternBytes >> 4} << 32 | std::uint64_t{1} << 62};
}

void beginProducts() { emulation::productsOfThread().begin(); }
void commitProducts() { emulation::productsOfThread().commit(); }

namespace emulation {

void waitForProducts(int left) { productsOfThread().wait(left); }

void multiplyAsync(Product product, SharedMatrix a, SharedMatrix b) {
  warpBarrier();
  product.aIsShared = true;
  product.a = {a.descriptor};
  product.b = {b.descriptor};
  productsOfThread().add(product);
}

// The four lanes of a row have its 16 numbers between them.
void multiplyAsync(Product product, const std::uint32_t (&a)[4], SharedMatrix b) {
  product.aIsShared = false;
  product.b = {b.descriptor};
  const unsigned char* shown = showToWarp(a, sizeof(a));
  for (int place = 0; place < 4; ++place) {
    std::uint32_t words[4];
    std::memcpy(words, shown + (laneIndex() / 4 * 4 + place) * kSlotBytes, sizeof(words));
    for (int i = 0; i < 8; ++i) {
      const auto bits = static_cast<std::uint16_t>(words[i / 2] >> (16 * (i % 2)));
      product.fragment[i / 2 % 2][2 * place + i % 2 + i / 4 * 8] =
          product.isBFloat16 ? fromBFloat16Bits(bits) : fromFloat16Bits(bits);
    }
  }
  productsOfThread().add(product);
}

}  // namespace emulation
}  // namespace wgqa::cuda
