// The emulation itself: what kernels are written in does what CUDA's documentation says.
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/dtype.h"
#include "ops/cuda/emulation/launch.h"
#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/reduce.h"
#include "test/harness.h"

namespace wgqa::cuda {
namespace {

// A kernel of a test: any function of one pointer.
struct TestArguments {
  void* data;
};

template <void (*kFunction)(TestArguments)>
void run(std::int32_t blocks, std::int32_t threads, std::int32_t sharedBytes, void* data) {
  const KernelEntry entry = kernelEntry<kFunction>(Kernel<TestArguments>{"test"});
  const TestArguments arguments{data};
  emulation::run(entry,
                 {&entry, {blocks, 1, 1}, threads, sharedBytes, &arguments, sizeof(arguments)});
}

void reverseThroughShared(TestArguments p) {
  auto* shared = dynamicShared<int>();
  auto* out = static_cast<int*>(p.data) + blockX() * blockThreads();
  shared[threadIndex()] = threadIndex();
  blockBarrier();
  out[threadIndex()] = shared[blockThreads() - 1 - threadIndex()];
}

void reverseWithoutBarrier(TestArguments p) {
  auto* shared = dynamicShared<int>();
  shared[threadIndex()] = threadIndex();
  static_cast<int*>(p.data)[threadIndex()] = shared[blockThreads() - 1 - threadIndex()];
}

void sumOfThreads(TestArguments p) {
  const float sum = blockSum(static_cast<float>(threadIndex()), dynamicShared<float>());
  static_cast<float*>(p.data)[threadIndex()] = sum;
}

void barrierOfSome(TestArguments) {
  if (threadIndex() < 32) blockBarrier();
}

void shuffles(TestArguments p) {
  auto* out = static_cast<int*>(p.data) + 3 * threadIndex();
  out[0] = shuffleXor(laneIndex(), 5);
  out[1] = shuffleFrom(laneIndex(), 3);
  out[2] = shuffleUp(laneIndex(), 2);
}

struct CopyData {
  alignas(16) std::uint32_t source[4];
  std::uint32_t before, after;
};

void copyUnderWay(TestArguments p) {
  auto* data = static_cast<CopyData*>(p.data);
  auto* shared = dynamicShared<std::uint32_t>();
  if (threadIndex() == 0) copyAsync16(shared, data->source);
  commitCopies();
  if (threadIndex() == 0) data->before = shared[0];
  waitForCopies<0>();
  blockBarrier();
  if (threadIndex() == 31) data->after = shared[0];
}

// One product of a [16, 16] by b [16, 8], both row-major and of type T, in shared memory.
struct ProductData {
  std::uint16_t a[16 * 16];
  std::uint16_t b[16 * 8];
  float out[16 * 8];
};

template <typename T>
void tensorProduct(TestArguments p) {
  auto* data = static_cast<ProductData*>(p.data);
  auto* a = dynamicShared<std::uint16_t>();
  std::uint16_t* b = a + 16 * 16;
  for (int i = threadIndex(); i < 16 * 16; i += 32) a[i] = data->a[i];
  for (int i = threadIndex(); i < 16 * 8; i += 32) b[i] = data->b[i];
  blockBarrier();
  const int lane = laneIndex();
  std::uint32_t aWords[4];
  loadMatrices(aWords, a + (lane % 16) * 16 + lane / 16 * 8);
  std::uint32_t bWords[4];
  loadMatricesTransposed(bWords, b + lane % 16 * 8);
  float sums[4] = {};
  T::multiplyAdd(sums, aWords, {bWords[0], bWords[1]});
  for (int i = 0; i < 4; ++i) {
    data->out[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2] = sums[i];
  }
}

}  // namespace

namespace {
using namespace wgqa::test;

WGQA_TEST(emulationOrdersABlockByItsBarriers) {
  std::vector<int> out(3 * 96);
  run<reverseThroughShared>(3, 96, 96 * sizeof(int), out.data());
  for (int i = 0; i < 3 * 96; ++i) CHECK_EQUAL(out[i], 95 - i % 96);
}

WGQA_TEST(emulationShowsAMissingBarrier) {
  std::vector<int> out(64);
  run<reverseWithoutBarrier>(2, 64, 64 * sizeof(int), out.data());
  bool differs = false;
  for (int i = 0; i < 64; ++i) differs |= out[i] != 63 - i;
  CHECK(differs);
}

WGQA_TEST(emulationSumsOverABlock) {
  std::vector<float> out(128);
  run<sumOfThreads>(1, 128, 32 * sizeof(float), out.data());
  for (const float sum : out) CHECK_EQUAL(sum, 127.0f * 128 / 2);
}

WGQA_TEST(emulationRefusesABarrierThatSomeSkip) {
  CHECK_THROWS(ErrorCode::internal, run<barrierOfSome>(1, 64, 0, nullptr));
  std::vector<float> out(64);  // and goes on afterwards
  run<sumOfThreads>(1, 64, 32 * sizeof(float), out.data());
  CHECK_EQUAL(out[63], 63.0f * 64 / 2);
}

WGQA_TEST(emulationShuffles) {
  std::vector<int> out(3 * 64);
  run<shuffles>(1, 64, 0, out.data());
  for (int i = 0; i < 64; ++i) {
    const int lane = i % 32;
    CHECK_EQUAL(out[3 * i], lane ^ 5);
    CHECK_EQUAL(out[3 * i + 1], 3);
    CHECK_EQUAL(out[3 * i + 2], lane < 2 ? lane : lane - 2);
  }
}

WGQA_TEST(emulationDeliversCopiesWhenTheyAreWaitedFor) {
  CopyData data{{7, 8, 9, 10}, 0, 0};
  run<copyUnderWay>(1, 32, 16, &data);
  CHECK_EQUAL(data.before, 0xffffffffu);
  CHECK_EQUAL(data.after, 7u);
}

template <typename T>
std::uint16_t bitsOf(int value) {
  T element;
  round(static_cast<float>(value), element);
  return element.bits;
}

template <typename T>
void checkProduct() {
  ProductData data{};
  for (int i = 0; i < 16 * 16; ++i) data.a[i] = bitsOf<T>(i % 13 - 6);
  for (int i = 0; i < 16 * 8; ++i) data.b[i] = bitsOf<T>(i % 7 - 3);
  run<tensorProduct<T>>(1, 32, (16 * 16 + 16 * 8) * sizeof(std::uint16_t), &data);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      int sum = 0;
      for (int k = 0; k < 16; ++k) sum += ((row * 16 + k) % 13 - 6) * ((k * 8 + column) % 7 - 3);
      CHECK_EQUAL(data.out[row * 8 + column], static_cast<float>(sum));
    }
  }
}

WGQA_TEST(emulationMultipliesMatrices) {
  checkProduct<BFloat16Element>();
  checkProduct<Float16Element>();
}

WGQA_TEST(emulationPairsNumbers) {
  CHECK_EQUAL(BFloat16Element::pairBits(1.0f, -2.0f), 0xc0003f80u);
  CHECK_EQUAL(Float16Element::pairBits(1.0f, -2.0f), 0xc0003c00u);
}

}  // namespace
}  // namespace wgqa::cuda
