// Attention on tensor cores beyond what the table of operations asks: how problems are cut, and
// that a query's result is the same, bit by bit, whatever comes with it.
#include <cstdint>
#include <vector>

#include "ops/cuda/attention_tensor_plan.h"
#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/emulation/emulated_driver.h"
#include "test/harness.h"
#include "test/ops_tensors.h"

namespace wgqa::cuda {
namespace {

using namespace wgqa::test;

constexpr std::int64_t kHeads = 2;
constexpr std::int64_t kHeadDim = 16;
constexpr std::int32_t kKeys = 330;

Device& device() {
  static Device& instance = *new Device(emulatedDriver(), 0);
  return instance;
}

// Random numbers on the device.
class DeviceTensor {
 public:
  DeviceTensor(Ops& ops, DType dtype, std::initializer_list<std::int64_t> shape, Random& random)
      : DeviceTensor(ops, dtype, shape) {
    reference::Wide values(static_cast<std::size_t>(view_.elements()));
    for (double& value : values) value = random.normal();
    std::vector<std::byte> host(static_cast<std::size_t>(view_.bytes()));
    TensorView hostView = view_;
    hostView.data = host.data();
    reference::store(values, hostView);
    ops.upload(host.data(), view_);
  }
  DeviceTensor(Ops& ops, DType dtype, std::initializer_list<std::int64_t> shape)
      : view_(nullptr, dtype, shape),
        memory_(ops.memory(), static_cast<std::size_t>(view_.bytes())) {
    view_.data = memory_.as<void>();
  }
  const TensorView& view() const { return view_; }

 private:
  TensorView view_;
  Buffer memory_;
};

std::vector<float> downloaded(Ops& ops, const TensorView& view) {
  std::vector<float> host(static_cast<std::size_t>(view.elements()));
  ops.download(view, host.data());
  return host;
}

struct Attended {
  std::vector<float> out;
  std::vector<float> logSumExp;
};

// Queries [first, first + count) of the one sequence.
Attended attend(CudaOps& ops, const TensorView& q, const TensorView& k, const TensorView& v,
                const TensorView& table, std::int32_t first, std::int32_t count, bool causal) {
  const std::int32_t queries[] = {0, count};
  const std::int32_t keys[] = {0, kKeys};
  const std::int32_t positions[] = {first};
  const std::int32_t kvHeadOf[] = {0, 0};
  const DeviceTensor out(ops, DType::float32, {count, kHeads, kHeadDim});
  const DeviceTensor logSumExp(ops, DType::float32, {count, kHeads});
  ops.attentionPrefill({.shape = {.queries = {queries},
                                  .keys = {keys},
                                  .firstPositions = positions,
                                  .kvHeadOf = kvHeadOf,
                                  .scale = 0.3f,
                                  .causal = causal,
                                  .bias = {table, !causal, 128},
                                  .dropout = {}},
                        .q = q.rows(first, count),
                        .k = k,
                        .v = v,
                        .out = out.view(),
                        .logSumExp = logSumExp.view()});
  return {downloaded(ops, out.view()), downloaded(ops, logSumExp.view())};
}

void checkChunks(DType dtype, bool causal) {
  CudaOps ops(device());
  Random random(1);
  const DeviceTensor q(ops, dtype, {kKeys, kHeads, kHeadDim}, random);
  const DeviceTensor k(ops, dtype, {kKeys, 1, kHeadDim}, random);
  const DeviceTensor v(ops, dtype, {kKeys, 1, kHeadDim}, random);
  const DeviceTensor table(ops, DType::float32, {32, kHeads}, random);
  const Attended all = attend(ops, q.view(), k.view(), v.view(), table.view(), 0, kKeys, causal);
  for (const auto& [first, count] : {std::pair{0, 1}, {3, 100}, {127, 2}, {150, 180}, {329, 1}}) {
    const Attended some =
        attend(ops, q.view(), k.view(), v.view(), table.view(), first, count, causal);
    for (std::size_t i = 0; i < some.out.size(); ++i) {
      CHECK_EQUAL(some.out[i], all.out[first * kHeads * kHeadDim + i]);
    }
    for (std::size_t i = 0; i < some.logSumExp.size(); ++i) {
      CHECK_EQUAL(some.logSumExp[i], all.logSumExp[first * kHeads + i]);
    }
  }
}

WGQA_TEST(attentionOfSomeQueriesIsThatOfAll) {
  for (const DType dtype : {DType::bfloat16, DType::float16}) {
    checkChunks(dtype, false);
    checkChunks(dtype, true);
  }
}

AttentionShape shapeOf(std::span<const std::int32_t> queries, std::span<const std::int32_t> keys) {
  AttentionShape shape;
  shape.queries = {queries};
  shape.keys = {keys};
  return shape;
}

WGQA_TEST(queryTilesBeginWithThoseThatSeeTheMostKeys) {
  const std::int32_t offsets[] = {0, 100, 400};
  AttentionShape shape = shapeOf(offsets, offsets);
  shape.causal = true;
  const auto tiles = queryTiles(shape, 128);
  const SequenceTile expected[] = {{1, 256}, {1, 128}, {1, 0}, {0, 0}};
  CHECK_EQUAL(tiles.size(), std::size_t{4});
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_EQUAL(tiles[i].sequence, expected[i].sequence);
    CHECK_EQUAL(tiles[i].first, expected[i].first);
  }
}

WGQA_TEST(queryTilesOfABiasAreCutAtTheSamePositions) {
  const std::int32_t queries[] = {0, 100};
  const std::int32_t keys[] = {0, 300};
  const std::int32_t positions[] = {100};
  const float table[] = {0.0f, 0.0f};
  AttentionShape shape = shapeOf(queries, keys);
  shape.firstPositions = positions;
  CHECK_EQUAL(queryTiles(shape, 128).size(), std::size_t{1});
  shape.bias = {ConstTensorView(table, DType::float32, {2, 1}), false, 128};
  const auto tiles = queryTiles(shape, 128);
  CHECK_EQUAL(tiles.size(), std::size_t{2});
  CHECK_EQUAL(tiles[0].first, -100);
  CHECK_EQUAL(tiles[1].first, 28);
}

WGQA_TEST(keyTilesBeginWithThoseThatTheMostQueriesSee) {
  const std::int32_t offsets[] = {0, 100, 400};
  AttentionShape shape = shapeOf(offsets, offsets);
  shape.causal = true;
  const auto tiles = keyTiles(shape, 128);
  const SequenceTile expected[] = {{1, 0}, {1, 128}, {0, 0}, {1, 256}};
  CHECK_EQUAL(tiles.size(), std::size_t{4});
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_EQUAL(tiles[i].sequence, expected[i].sequence);
    CHECK_EQUAL(tiles[i].first, expected[i].first);
  }
}

WGQA_TEST(aBiasReachesToTheFirstDistanceOfItsLastBucket) {
  const float table[32] = {};
  for (const bool bidirectional : {false, true}) {
    const RelativeBias bias{ConstTensorView(table, DType::float32, {32, 1}), bidirectional, 128};
    const auto reach = relativeBiasReach(bias, 1000);
    const auto bucketOf = [&](std::int64_t distance) {
      return relativeBucket(distance, bidirectional, 32, 128);
    };
    CHECK_EQUAL(bucketOf(-reach), bucketOf(-1000));
    CHECK_EQUAL(bucketOf(reach), bucketOf(1000));
    CHECK(bucketOf(-reach + 1) != bucketOf(-1000));
    CHECK_EQUAL(relativeBiasReach(bias, 50), std::int64_t{50});
  }
}

WGQA_TEST(tensorCoresTakeWholeChunksOnly) {
  alignas(16) static const std::uint16_t data[16] = {};
  const ConstTensorView aligned(data, DType::bfloat16, {1, 1, 8});
  const ConstTensorView misaligned(data + 1, DType::bfloat16, {1, 1, 8});
  AttentionShape shape;
  CHECK(takesTensorCores(shape, 8, {aligned}));
  CHECK(takesTensorCores(shape, 128, {aligned}));
  CHECK(!takesTensorCores(shape, 136, {aligned}));
  CHECK(!takesTensorCores(shape, 12, {aligned}));
  CHECK(!takesTensorCores(shape, 8, {aligned, misaligned}));
  shape.scale = -1.0f;
  CHECK(!takesTensorCores(shape, 8, {aligned}));
}

}  // namespace
}  // namespace wgqa::cuda
