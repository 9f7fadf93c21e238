// Philox4x32-10 on the device: the numbers of base/philox.h.
#pragma once

#include "base/philox.h"
#include "ops/cuda/kernels/execution.h"

namespace wgqa::cuda {

/// DropoutSpec as kernels get it. threshold 0: nothing is dropped.
struct DropoutArguments {
  // The seed's key of each round: read where they are used, they take neither sums nor registers.
  std::uint32_t roundKeys[2 * kPhiloxRounds];
  std::uint64_t stream;
  std::uint32_t threshold;
  float keptScale;  // 1 / (1 - rate)
};

struct RandomWords {
  std::uint32_t words[4];
};

/// Words of the columns 4 columnBlock to 4 columnBlock + 3 of a row.
WGQA_DEVICE RandomWords randomWords(const DropoutArguments& dropout, std::uint32_t row,
                                    std::uint32_t columnBlock) {
  RandomWords counter{{columnBlock, row, static_cast<std::uint32_t>(dropout.stream),
                       static_cast<std::uint32_t>(dropout.stream >> 32)}};
  WGQA_UNROLL
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{kPhiloxMultiplier0} * counter.words[0];
    const std::uint64_t product1 = std::uint64_t{kPhiloxMultiplier1} * counter.words[2];
    counter = {{static_cast<std::uint32_t>(product1 >> 32) ^ counter.words[1] ^
                    dropout.roundKeys[2 * round],
                static_cast<std::uint32_t>(product1),
                static_cast<std::uint32_t>(product0 >> 32) ^ counter.words[3] ^
                    dropout.roundKeys[2 * round + 1],
                static_cast<std::uint32_t>(product0)}};
  }
  return counter;
}

/// What dropout multiplies an element by, given its random word.
WGQA_DEVICE float dropoutFactor(const DropoutArguments& dropout, std::uint32_t word) {
  return word >= dropout.threshold ? dropout.keptScale : 0.0f;
}

/// The same for one element; for neighbours in a row use randomWords.
WGQA_DEVICE float dropoutFactor(const DropoutArguments& dropout, std::uint32_t row,
                                std::uint32_t column) {
  if (dropout.threshold == 0) return 1.0f;
  return dropoutFactor(dropout, randomWords(dropout, row, column / 4).words[column % 4]);
}

}  // namespace wgqa::cuda
