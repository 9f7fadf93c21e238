// The emulation of Hopper's instructions: barriers, boxes and a warpgroup's products do what the
// PTX manual says, and what a kernel does too early shows.
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/dtype.h"
#include "ops/cuda/emulation/launch.h"
#include "ops/cuda/kernels/hopper_tile.h"
#include "test/harness.h"

namespace wgqa::cuda {
namespace {

using namespace wgqa::test;

constexpr int kRows = 64;
constexpr int kColumns = 128;  // two panels
constexpr int kTokens = 70;
constexpr int kHeads = 2;
using Tile = HopperTile<kRows, kColumns>;

// A tensor [kTokens, kHeads, kColumns] of small whole numbers, and what kernels make of it.
struct HopperData {
  alignas(16) std::uint16_t tensor[kTokens * kHeads * kColumns];
  TensorMap map;
  float out[kRows * 64];
  std::uint16_t copied[kRows * kColumns];

  HopperData() {
    for (int i = 0; i < kTokens * kHeads * kColumns; ++i) {
      tensor[i] = toBFloat16(static_cast<float>(i * 7 % 11 - 5)).bits;
    }
    emulation::describe({tensor, kTokens, kHeads, kColumns, kRows}, map);
  }
  // 0 outside of the tensor.
  float at(int token, int head, int column) const {
    if (token < 0 || token >= kTokens) return 0.0f;
    return toFloat(BFloat16{tensor[(token * kHeads + head) * kColumns + column]});
  }
};

struct HopperTestArguments {
  HopperData* data;
};

template <void (*kFunction)(HopperTestArguments)>
void run(HopperData& data, std::int32_t blocks = 4) {
  const KernelEntry entry = kernelEntry<kFunction>(Kernel<HopperTestArguments>{"test"});
  const HopperTestArguments arguments{&data};
  emulation::run(entry, {&entry,
                         {blocks, 1, 1},
                         kWarpgroupThreads,
                         2 * Tile::kBytes + 64,
                         &arguments,
                         sizeof(arguments)});
}

// A tile of the rows from `token` on and, behind it, one of those from token 0 on.
SharedBarrier& loadTiles(HopperData& data, int token) {
  auto* shared = dynamicShared<unsigned char>();
  auto& full = *reinterpret_cast<SharedBarrier*>(shared + 2 * Tile::kBytes);
  if (threadIndex() == 0) initialise(full, 1);
  blockBarrier();
  if (threadIndex() == 0) {
    arriveExpecting(full, 2 * Tile::kBytes);
    Tile::copy(shared, data.map, 1, token, full);
    Tile::copy(shared + Tile::kBytes, data.map, 0, 0, full);
  }
  return full;
}

template <int kToken>
void copyOut(HopperTestArguments p) {
  waitFor(loadTiles(*p.data, kToken), 0);
  const auto* shared = dynamicShared<unsigned char>();
  for (int i = threadIndex(); i < kRows * kColumns; i += blockThreads()) {
    const int row = i / kColumns;
    const int column = i % kColumns;
    const int chunk = column % 64 / 8 ^ row % 8;
    p.data->copied[i] = loadWhole<std::uint16_t>(shared + column / 64 * Tile::kPanelBytes +
                                                 row * 128 + chunk * 16 + column % 8 * 2);
  }
}

void storeSums(HopperData& data, const float (&sums)[1][8][4]) {
  for (int n = 0; n < 8; ++n) {
    for (int i = 0; i < 4; ++i) {
      const int row = warpIndex() * 16 + laneRow() + 8 * (i / 2);
      data.out[row * 64 + 8 * n + laneColumn() + i % 2] = sums[0][n][i];
    }
  }
}

void rowProducts(HopperTestArguments p) {
  waitFor(loadTiles(*p.data, 0), 0);
  const auto* shared = dynamicShared<unsigned char>();
  float sums[1][8][4];
  beginProducts();
  beginRowProducts<BFloat16Element, Tile, Tile>(Tile::matrix(shared, 0),
                                                Tile::matrix(shared + Tile::kBytes, 0), flat(sums));
  commitProducts();
  waitForProducts<0>(flat(sums));
  storeSums(*p.data, sums);
}

// sums [64, 128] = 1 + a b, a of [64, 64] in registers: a[row, k] = row % 5 - k % 3.
void fragmentProducts(HopperTestArguments p) {
  waitFor(loadTiles(*p.data, 0), 0);
  const auto* shared = dynamicShared<unsigned char>();
  float a[1][1][8][4];
  for (int n = 0; n < 8; ++n) {
    for (int i = 0; i < 4; ++i) {
      const int row = warpIndex() * 16 + laneRow() + 8 * (i / 2);
      a[0][0][n][i] = static_cast<float>(row % 5 - (8 * n + laneColumn() + i % 2) % 3);
    }
  }
  std::uint32_t rounded[4][4];
  roundFragment<BFloat16Element>(a, rounded);
  float sums[1][16][4];
  for (auto& group : sums[0]) std::fill(group, group + 4, 1.0f);
  beginProducts();
  beginFragmentProducts<BFloat16Element, Tile>(rounded, Tile::matrix(shared + Tile::kBytes, 0),
                                               flat(sums));
  commitProducts();
  waitForProducts<0>(flat(sums));
  float second[1][8][4];  // the columns of the second panel
  std::copy(&sums[0][8][0], &sums[0][8][0] + 32, &second[0][0][0]);
  storeSums(*p.data, second);
}

// Begins the product of a tile with itself.
void beginSquare(HopperTestArguments p, float (&sums)[1][8][4]) {
  waitFor(loadTiles(*p.data, 0), 0);
  const auto* shared = dynamicShared<unsigned char>();
  beginProducts();
  beginRowProducts<BFloat16Element, Tile, Tile>(Tile::matrix(shared, 0), Tile::matrix(shared, 0),
                                                flat(sums));
  commitProducts();
}

void readBeforeTheWait(HopperTestArguments p) {
  float sums[1][8][4];
  beginSquare(p, sums);
  storeSums(*p.data, sums);
  waitForProducts<0>(flat(sums));
}

void writeBeforeTheWait(HopperTestArguments p) {
  float sums[1][8][4];
  beginSquare(p, sums);
  sums[0][0][0] = 0.0f;
  waitForProducts<0>(flat(sums));
}

void neverWait(HopperTestArguments p) {
  float sums[1][8][4];
  beginSquare(p, sums);
}

void readBoxesUnasked(HopperTestArguments p) {
  loadTiles(*p.data, 0);
  p.data->out[blockX()] = loadWhole<float>(dynamicShared<unsigned char>());
  blockBarrier();
}

void waitForMoreBytes(HopperTestArguments p) {
  SharedBarrier& full = loadTiles(*p.data, 0);
  waitFor(full, 0);
  if (threadIndex() == 0) arriveExpecting(full, 16);
  waitFor(full, 1);
}

// A ring of one place, written by thread 0 and read by the others, three times.
void ring(HopperTestArguments p) {
  auto* shared = dynamicShared<unsigned char>();
  auto& full = *reinterpret_cast<SharedBarrier*>(shared + 64);
  auto& empty = *reinterpret_cast<SharedBarrier*>(shared + 72);
  auto& place = *reinterpret_cast<int*>(shared);
  if (threadIndex() == 0) {
    initialise(full, 1);
    initialise(empty, kWarpgroupThreads - 1);
  }
  blockBarrier();
  int sum = 0;
  for (int i = 0; i < 3; ++i) {
    if (threadIndex() == 0) {
      waitFor(empty, i % 2 ^ 1);
      place = 10 + i;
      arrive(full);
    } else {
      waitFor(full, i % 2);
      sum += place;
      arrive(empty);
    }
  }
  if (threadIndex() > 0) p.data->out[threadIndex()] = static_cast<float>(sum);
}

WGQA_TEST(emulatedBoxesArePermutedAndZeroOutside) {
  HopperData data;
  run<copyOut<10>>(data);
  for (int i = 0; i < kRows * kColumns; ++i) {
    CHECK_EQUAL(toFloat(BFloat16{data.copied[i]}), data.at(10 + i / kColumns, 1, i % kColumns));
  }
  run<copyOut<-3>>(data);
  for (int i = 0; i < kRows * kColumns; ++i) {
    CHECK_EQUAL(toFloat(BFloat16{data.copied[i]}), data.at(-3 + i / kColumns, 1, i % kColumns));
  }
}

WGQA_TEST(emulatedWarpgroupsMultiplyRows) {
  HopperData data;
  run<rowProducts>(data);
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < 64; ++column) {
      float sum = 0.0f;
      for (int k = 0; k < kColumns; ++k) sum += data.at(row, 1, k) * data.at(column, 0, k);
      CHECK_EQUAL(data.out[row * 64 + column], sum);
    }
  }
}

WGQA_TEST(emulatedWarpgroupsMultiplyFragments) {
  HopperData data;
  run<fragmentProducts>(data);
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < 64; ++column) {
      float sum = 1.0f;
      for (int k = 0; k < 64; ++k) {
        sum += static_cast<float>(row % 5 - k % 3) * data.at(k, 0, 64 + column);
      }
      CHECK_EQUAL(data.out[row * 64 + column], sum);
    }
  }
}

WGQA_TEST(emulationShowsProductsAndBoxesThatAreNotWaitedFor) {
  HopperData data;
  run<readBeforeTheWait>(data);
  CHECK(std::isnan(data.out[0]));
  CHECK_THROWS(ErrorCode::internal, run<writeBeforeTheWait>(data));
  CHECK_THROWS(ErrorCode::internal, run<neverWait>(data));
  CHECK_THROWS(ErrorCode::internal, run<readBoxesUnasked>(data));
  CHECK_THROWS(ErrorCode::internal, run<waitForMoreBytes>(data));
}

WGQA_TEST(emulatedBarriersHavePhases) {
  HopperData data;
  run<ring>(data);
  for (int i = 1; i < kWarpgroupThreads; ++i) CHECK_EQUAL(data.out[i], 33.0f);
}

}  // namespace
}  // namespace wgqa::cuda
