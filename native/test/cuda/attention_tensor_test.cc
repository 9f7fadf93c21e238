// Attention on tensor cores beyond what the table of operations asks: how problems are cut, and
// that a query's result is the same, bit by bit, whatever comes with it.
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cuda/attention_hopper_plan.h"
#include "ops/cuda/attention_tensor_plan.h"
#include "ops/cuda/cuda_ops.h"
#include "test/cuda/cuda_devices.h"
#include "test/harness.h"
#include "test/ops_tensors.h"

namespace wgqa::cuda {
namespace {

using namespace wgqa::test;

constexpr std::int64_t kHeads = 2;
constexpr std::int64_t kHeadDim = 16;
constexpr std::int32_t kKeys = 330;

// Random numbers on the device.
class DeviceTensor {
 public:
  DeviceTensor(Ops& ops, DType dtype, std::initializer_list<std::int64_t> shape, Random& random)
      : DeviceTensor(ops, dtype, shape, normal(shape, random)) {}
  DeviceTensor(Ops& ops, DType dtype, std::initializer_list<std::int64_t> shape,
               const reference::Wide& values)
      : DeviceTensor(ops, dtype, shape) {
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
  static reference::Wide normal(std::initializer_list<std::int64_t> shape, Random& random) {
    reference::Wide values(static_cast<std::size_t>(TensorView(nullptr, {}, shape).elements()));
    for (double& value : values) value = random.normal();
    return values;
  }

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

void checkChunks(CudaOps& ops, DType dtype, bool causal) {
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
  for (const CudaTestDevice& on : cudaAttentionTestDevices()) {
    CudaOps ops(*on.device);
    for (const DType dtype : {DType::bfloat16, DType::float16}) {
      checkChunks(ops, dtype, false);
      checkChunks(ops, dtype, true);
    }
  }
}

// Self-attention of two sequences, whose borders lie within tiles, and its gradients: of the first
// one alone, or of both where the second is infinite and not a number.
constexpr std::int32_t kFirst = 150;
constexpr std::int32_t kSecond = 140;

class Neighbours {
 public:
  Neighbours(CudaOps& ops, bool causal, std::int32_t sequences)
      : ops_(ops), causal_(causal), offsets_{0, kFirst, kFirst + kSecond}, sequences_(sequences) {
    for (TensorView* tensor : {&q_, &gradOut_}) *tensor = add(DType::bfloat16, kHeads, true);
    for (TensorView* tensor : {&k_, &v_}) *tensor = add(DType::bfloat16, 1, true);
    for (TensorView* tensor : {&out_, &gradQ_}) *tensor = add(DType::float32, kHeads, false);
    for (TensorView* tensor : {&gradK_, &gradV_}) *tensor = add(DType::float32, 1, false);
  }

  // Of the first sequence: out, gradQ, gradK, gradV.
  std::vector<std::vector<float>> run() {
    const DeviceTensor logSumExp(ops_, DType::float32, {tokens(), kHeads});
    const std::span<const std::int32_t> offsets(offsets_, 1 + sequences_);
    const std::int32_t kvHeadOf[] = {0, 0};
    const AttentionShape shape{.queries = {offsets},
                               .keys = {offsets},
                               .firstPositions = {},
                               .kvHeadOf = kvHeadOf,
                               .scale = 0.3f,
                               .causal = causal_,
                               .bias = {},
                               .dropout = {}};
    ops_.attentionPrefill(
        {.shape = shape, .q = q_, .k = k_, .v = v_, .out = out_, .logSumExp = logSumExp.view()});
    ops_.attentionPrefillBackward({.shape = shape,
                                   .q = q_,
                                   .k = k_,
                                   .v = v_,
                                   .out = out_,
                                   .logSumExp = logSumExp.view(),
                                   .gradOut = gradOut_,
                                   .gradQ = gradQ_,
                                   .gradK = gradK_,
                                   .gradV = gradV_,
                                   .gradBiasTable = {}});
    std::vector<std::vector<float>> results;
    for (const TensorView& tensor : {out_, gradQ_, gradK_, gradV_}) {
      results.push_back(downloaded(ops_, tensor.rows(0, kFirst)));
    }
    return results;
  }

 private:
  std::int32_t tokens() const { return offsets_[sequences_]; }

  TensorView add(DType dtype, std::int64_t heads, bool isInput) {
    if (!isInput) {
      tensors_.push_back(std::make_unique<DeviceTensor>(
          ops_, dtype, std::initializer_list<std::int64_t>{tokens(), heads, kHeadDim}));
      return tensors_.back()->view();
    }
    reference::Wide values(static_cast<std::size_t>(tokens() * heads * kHeadDim));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const bool isFirst = i < static_cast<std::size_t>(kFirst * heads * kHeadDim);
      const double broken = i % 2 == 0 ? INFINITY : NAN;
      values[i] = isFirst ? random_.normal() : broken;
    }
    tensors_.push_back(std::make_unique<DeviceTensor>(
        ops_, dtype, std::initializer_list<std::int64_t>{tokens(), heads, kHeadDim}, values));
    return tensors_.back()->view();
  }

  CudaOps& ops_;
  bool causal_;
  std::int32_t offsets_[3];
  std::size_t sequences_;
  Random random_{3};
  std::vector<std::unique_ptr<DeviceTensor>> tensors_;
  TensorView q_, k_, v_, gradOut_, out_, gradQ_, gradK_, gradV_;
};

WGQA_TEST(attentionDoesNotSeeWhatIsBrokenInAnotherSequence) {
  for (const CudaTestDevice& on : cudaAttentionTestDevices()) {
    CudaOps ops(*on.device);
    for (const bool causal : {false, true}) {
      const auto alone = Neighbours(ops, causal, 1).run();
      const auto beside = Neighbours(ops, causal, 2).run();
      for (std::size_t i = 0; i < alone.size(); ++i) {
        for (std::size_t j = 0; j < alone[i].size(); ++j) {
          CHECK_EQUAL(beside[i][j], alone[i][j]);
        }
      }
    }
  }
}

WGQA_TEST(hopperTakesWhatItsTilesHaveRoomFor) {
  alignas(16) static const std::uint16_t data[16] = {};
  const auto tensorOf = [](std::int64_t headDim) {
    return TensorView(const_cast<std::uint16_t*>(data), DType::bfloat16, {1, 1, headDim});
  };
  const auto forward = [&](std::int64_t headDim) {
    const TensorView tensor = tensorOf(headDim);
    return AttentionPrefill{
        .shape = {}, .q = tensor, .k = tensor, .v = tensor, .out = tensor, .logSumExp = {}};
  };
  const auto backward = [&](std::int64_t headDim) {
    const TensorView tensor = tensorOf(headDim);
    return AttentionPrefillBackward{.shape = {},
                                    .q = tensor,
                                    .k = tensor,
                                    .v = tensor,
                                    .out = tensor,
                                    .logSumExp = {},
                                    .gradOut = tensor,
                                    .gradQ = tensor,
                                    .gradK = tensor,
                                    .gradV = tensor,
                                    .gradBiasTable = {}};
  };
  DeviceProperties device{};
  device.sharedBytesPerBlock = 232448;
  device.computeCapability = 90;
  CHECK(takesHopper(forward(64), device) && takesHopper(backward(64), device));
  CHECK(takesHopper(forward(128), device) && !takesHopper(backward(128), device));
  CHECK(!takesHopper(forward(12), device) && !takesHopper(backward(12), device));
  AttentionPrefill empty = forward(64);
  empty.k = TensorView(nullptr, DType::bfloat16, {0, 1, 64});
  CHECK(!takesHopper(empty, device));
  AttentionPrefill dropping = forward(64);
  dropping.shape.dropout.rate = 0.1f;
  CHECK(takesHopper(dropping, device));
  dropping.q.dtype = DType::float16;
  CHECK(!takesHopper(dropping, device));
  const float table[32] = {};
  AttentionPrefill farBias = forward(128);
  farBias.shape.bias = {ConstTensorView(table, DType::float32, {32, 1}), true, 200000};
  CHECK(!takesHopper(farBias, device));
  for (const int other : {80, 89, 100, 120}) {
    device.computeCapability = other;
    CHECK(!takesHopper(forward(64), device) && !takesHopper(backward(64), device));
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
