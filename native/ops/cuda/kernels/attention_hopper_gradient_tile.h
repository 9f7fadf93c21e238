// What the two gradient kernels of attention on Hopper's tensor cores share: as in
// attention_tensor_backward.cu keys' and queries' gradients have a kernel each, whose blocks own
// what they add to. One warpgroup of a block copies; the others begin the next scores before they
// add what came of the last.
#pragma once

#include "ops/cuda/kernels/attention_gradient_tile.h"
#include "ops/cuda/kernels/attention_hopper_backward.h"

namespace wgqa::cuda {

struct GradientBarriers {
  SharedBarrier rows;
  RingBarriers<HopperGradientTiles::kStages, HopperGradientTiles::kWarps> ring;

  /// By one thread.
  WGQA_DEVICE void initialiseAll() {
    static_assert(sizeof(GradientBarriers) <= HopperGradientTiles::kBarrierBytes);
    initialise(rows, 1);
    ring.initialiseAll();
    publishBarriers();
  }
};

template <typename Tiles>
WGQA_DEVICE GradientBarriers& barriersIn(unsigned char* shared) {
  return *reinterpret_cast<GradientBarriers*>(shared + Tiles::kBarriersAt);
}

/// Of the warps and warpgroups that multiply.
WGQA_DEVICE int multiplierWarp() { return warpIndex() - kWarpgroupThreads / kWarpThreads; }
WGQA_DEVICE int multiplierGroup() { return warpgroupIndex() - 1; }

using Scores = float[1][HopperGradientTiles::kColumns / 8][4];
using Rounded = std::uint32_t[HopperGradientTiles::kColumns / 16][4];
using Sums = float[1][kHopperGradientColumns / 8][4];

WGQA_DEVICE void round(const Scores& values, Rounded& rounded) {
  roundFragment<BFloat16Element>(
      reinterpret_cast<const float(&)[1][1][HopperGradientTiles::kColumns / 8][4]>(values),
      rounded);
}

}  // namespace wgqa::cuda
