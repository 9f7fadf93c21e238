// How decode attention is divided: nothing of it may depend on the batch but the grid's room.
#include <vector>

#include "ops/cuda/attention_decode_plan.h"
#include "test/harness.h"

namespace wgqa::cuda {
namespace {

constexpr DecodeProblem kT5{.queryType = DType::bfloat16,
                            .cacheType = DType::bfloat16,
                            .headDim = 64,
                            .blockTokens = 64,
                            .largestGroup = 4,
                            .isAligned = true};

WGQA_TEST(decodePlanTakesTensorCoresWhereSizesLetIt) {
  CHECK(chooseDecodeKernel(kT5) == DecodeKernel::tensor);
  const auto with = [](auto change) {
    DecodeProblem problem = kT5;
    change(problem);
    return chooseDecodeKernel(problem);
  };
  CHECK(with([](auto& p) { p.cacheType = DType::int8; }) == DecodeKernel::tensor);
  CHECK(with([](auto& p) { p.headDim = 128; }) == DecodeKernel::tensor);
  CHECK(with([](auto& p) { p.blockTokens = 8; }) == DecodeKernel::tensor);
  CHECK(with([](auto& p) { p.queryType = p.cacheType = DType::float16; }) == DecodeKernel::tensor);
  CHECK(with([](auto& p) {
          p.queryType = DType::float16;
          p.cacheType = DType::int8;
        }) == DecodeKernel::tensor);
  CHECK(with([](auto& p) { p.queryType = DType::float16; }) == DecodeKernel::scalar);
  CHECK(with([](auto& p) { p.cacheType = DType::float16; }) == DecodeKernel::scalar);
  CHECK(with([](auto& p) { p.queryType = DType::float32; }) == DecodeKernel::scalar);
  CHECK(with([](auto& p) { p.cacheType = DType::float32; }) == DecodeKernel::scalar);
  CHECK(with([](auto& p) { p.headDim = 80; }) == DecodeKernel::scalar);
  CHECK(with([](auto& p) { p.isAligned = false; }) == DecodeKernel::scalar);
  CHECK(with([](auto& p) { p.blockTokens = 20; }) == DecodeKernel::scalar);
  // Sixteen int8 keys of a copy would lie in two blocks.
  CHECK(with([](auto& p) {
          p.cacheType = DType::int8;
          p.blockTokens = 8;
        }) == DecodeKernel::scalar);
}

WGQA_TEST(decodePlanFillsTheGridByPowersOfTwo) {
  const auto splits = [](const std::vector<std::int32_t>& lengths) {
    return decodeSplits(lengths, 256);
  };
  CHECK_EQUAL(splits({}), 0);
  CHECK_EQUAL(splits({1}), 1);
  CHECK_EQUAL(splits({256, 3}), 1);
  CHECK_EQUAL(splits({3, 257}), 2);
  CHECK_EQUAL(splits({513}), 4);
  CHECK_EQUAL(splits({4096}), 16);
  CHECK_EQUAL(splits({4097}), 32);
}

// 227 KiB is what a block may have on an H100, 163 KiB on an A100.
WGQA_TEST(decodePlanFitsIntoSharedMemory) {
  constexpr std::int64_t kMost = 163 * 1024;
  for (const std::int64_t headDim : {64, 128}) {
    for (const std::int64_t group : {1, 16, 17, 128}) {
      DecodeProblem problem = kT5;
      problem.headDim = headDim;
      problem.largestGroup = group;
      CHECK(decodeSharedBytes(DecodeKernel::tensor, problem) <= kMost);
      // Two blocks on a multiprocessor of an H100.
      CHECK(2 * (decodeSharedBytes(DecodeKernel::tensor, problem) + 1024) <= 228 * 1024);
    }
  }
  DecodeProblem wide = kT5;
  wide.headDim = 256;
  CHECK(decodeSharedBytes(DecodeKernel::scalar, wide) <= kMost);
}

}  // namespace
}  // namespace wgqa::cuda
