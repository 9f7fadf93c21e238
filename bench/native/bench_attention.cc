// Speed of attention on the CPU: decode against the machine's read bandwidth, prefill and its
// backward pass against oneDNN's matrix product, all measured in one run.
#include <algorithm>
#include <memory>
#include <numeric>
#include <random>

#include "bench_support.h"
#include "limits/large_array.h"
#include "ops/ops.h"

namespace wgqa::bench {
namespace {

constexpr int kHeads = 12;
constexpr int kHeadDim = 64;

std::vector<float> randomFloats(std::size_t count, float deviation) {
  static std::mt19937 generator(1);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  std::ranges::generate(values, [&] { return normal(generator); });
  return values;
}

std::vector<std::int32_t> equalGroups(int kvHeads) {
  std::vector<std::int32_t> kvHeadOf(kHeads);
  for (int head = 0; head < kHeads; ++head) kvHeadOf[head] = head * kvHeads / kHeads;
  return kvHeadOf;
}

std::string groupName(int kvHeads) {
  if (kvHeads == kHeads) return "MHA";
  return kvHeads == 1 ? "MQA" : "GQA-" + std::to_string(kvHeads);
}

// Decode over a cache whose blocks lie as the engine has them, a block's values behind its keys,
// and one after the other, as those of a new source, or in random order.
class DecodeProblem {
 public:
  static constexpr int kSequences = 8;
  static constexpr int kTokens = 4096;
  static constexpr int kBlockTokens = 16;
  static constexpr int kBlocks = kSequences * kTokens / kBlockTokens;

  DecodeProblem(int kvHeads, DType dtype, bool isShuffled)
      : kvHeadOf_(equalGroups(kvHeads)),
        sideBytes_(std::int64_t{kvHeads} * kBlockTokens * kHeadDim *
                   static_cast<std::int64_t>(bytesOf(dtype))),
        scaleBytes_(dtype == DType::int8 ? std::int64_t{kvHeads} * kBlockTokens * 4 : 0),
        blockBytes_(2 * (sideBytes_ + scaleBytes_)),
        // Zero bytes are the number 0 in every type: what is in the cache does not change the time.
        memory_(static_cast<std::size_t>(kBlocks * blockBytes_)),
        q_(randomFloats(std::size_t{kSequences} * kHeads * kHeadDim, 1.0f)),
        table_(randomFloats(std::size_t{32} * kHeads, 1.0f)),
        out_(q_.size()),
        blockTable_(kBlocks),
        tableOffsets_(kSequences + 1),
        lengths_(kSequences, kTokens) {
    std::iota(blockTable_.begin(), blockTable_.end(), 0);
    if (isShuffled) std::shuffle(blockTable_.begin(), blockTable_.end(), std::mt19937(1));
    for (int i = 0; i <= kSequences; ++i) tableOffsets_[i] = i * (kTokens / kBlockTokens);
    const auto part = [&](std::int64_t offset, DType type,
                          std::initializer_list<std::int64_t> shape) {
      ConstTensorView view(memory_.as<std::byte>() + offset, type, shape);
      view.strides[0] = blockBytes_ / static_cast<std::int64_t>(bytesOf(type));
      return view;
    };
    params_.cache = {.keys = part(0, dtype, {kBlocks, kvHeads, kHeadDim, kBlockTokens}),
                     .values = part(sideBytes_, dtype, {kBlocks, kvHeads, kBlockTokens, kHeadDim}),
                     .blockTable = blockTable_,
                     .tableOffsets = tableOffsets_,
                     .lengths = lengths_};
    if (scaleBytes_ > 0) {
      const std::initializer_list<std::int64_t> shape = {kBlocks, kvHeads, kBlockTokens};
      params_.cache.keyScales = part(2 * sideBytes_, DType::float32, shape);
      params_.cache.valueScales = part(2 * sideBytes_ + scaleBytes_, DType::float32, shape);
    }
    params_.kvHeadOf = kvHeadOf_;
    params_.bias.table = ConstTensorView(table_.data(), DType::float32, {32, kHeads});
    params_.q = ConstTensorView(q_.data(), DType::float32, {kSequences, kHeads, kHeadDim});
    params_.out = TensorView(out_.data(), DType::float32, {kSequences, kHeads, kHeadDim});
  }

  double bytes() const { return static_cast<double>(memory_.bytes()); }
  const AttentionDecode& params() const { return params_; }

 private:
  std::vector<std::int32_t> kvHeadOf_;
  std::int64_t sideBytes_;
  std::int64_t scaleBytes_;
  std::int64_t blockBytes_;
  LargeArray memory_;
  std::vector<float> q_;
  std::vector<float> table_;
  std::vector<float> out_;
  std::vector<std::int32_t> blockTable_;
  std::vector<std::int32_t> tableOffsets_;
  std::vector<std::int32_t> lengths_;
  AttentionDecode params_;
};

// Encoder self-attention of four sequences of 512 tokens, forward and backward.
class PrefillProblem {
 public:
  static constexpr int kSequences = 4;
  static constexpr int kTokens = 512;
  static constexpr int kRows = kSequences * kTokens;

  PrefillProblem(int kvHeads, float dropoutRate)
      : kvHeadOf_(equalGroups(kvHeads)),
        q_(randomFloats(std::size_t{kRows} * kHeads * kHeadDim, 1.0f)),
        k_(randomFloats(std::size_t{kRows} * kvHeads * kHeadDim, 0.125f)),
        v_(randomFloats(k_.size(), 1.0f)),
        gradOut_(randomFloats(q_.size(), 1.0f)),
        table_(randomFloats(std::size_t{32} * kHeads, 1.0f)),
        out_(q_.size()),
        logSumExp_(std::size_t{kRows} * kHeads),
        gradQ_(q_.size()),
        gradK_(k_.size()),
        gradV_(v_.size()),
        gradTable_(table_.size()) {
    for (int i = 0; i <= kSequences; ++i) offsets_.push_back(i * kTokens);
    const auto query = [](auto& x) { return floats(x, {kRows, kHeads, kHeadDim}); };
    const auto key = [&](auto& x) { return floats(x, {kRows, kvHeads, kHeadDim}); };
    AttentionShape shape;
    shape.queries = shape.keys = {offsets_};
    shape.kvHeadOf = kvHeadOf_;
    shape.bias = {floats(table_, {32, kHeads}), true, 128};
    shape.dropout = {dropoutRate, {1, 2}};
    forward_ = {shape,   query(q_),   key(k_),
                key(v_), query(out_), floats(logSumExp_, {kRows, kHeads})};
    backward_ = {shape,
                 query(q_),
                 key(k_),
                 key(v_),
                 query(out_),
                 forward_.logSumExp,
                 query(gradOut_),
                 query(gradQ_),
                 key(gradK_),
                 key(gradV_),
                 floats(gradTable_, {32, kHeads})};
  }

  /// Of one of the products of forward (2) and backward (5).
  static constexpr double kProductWork = 2.0 * kSequences * kTokens * kTokens * kHeads * kHeadDim;

  const AttentionPrefill& forward() const { return forward_; }
  const AttentionPrefillBackward& backward() const { return backward_; }

 private:
  static TensorView floats(std::vector<float>& x, std::initializer_list<std::int64_t> shape) {
    return {x.data(), DType::float32, shape};
  }

  std::vector<std::int32_t> kvHeadOf_;
  std::vector<std::int32_t> offsets_;
  std::vector<float> q_;
  std::vector<float> k_;
  std::vector<float> v_;
  std::vector<float> gradOut_;
  std::vector<float> table_;
  std::vector<float> out_;
  std::vector<float> logSumExp_;
  std::vector<float> gradQ_;
  std::vector<float> gradK_;
  std::vector<float> gradV_;
  std::vector<float> gradTable_;
  AttentionPrefill forward_;
  AttentionPrefillBackward backward_;
};

void measureDecode(Ops& ops, const Options& options, std::vector<Ratio>& ratios) {
  std::vector<Subject> subjects;
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
    for (const int kvHeads : {kHeads, 4, 1}) {
      for (const bool isShuffled : {false, true}) {
        const auto problem = std::make_shared<DecodeProblem>(kvHeads, dtype, isShuffled);
        subjects.push_back({.name = "decode " + groupName(kvHeads) + " " +
                                    std::string(dtypeName(dtype)) + ", 8 x 4096 tokens" +
                                    (isShuffled ? " in random blocks" : ""),
                            .work = problem->bytes(),
                            .run = [&ops, problem] { ops.attentionDecode(problem->params()); }});
      }
    }
  }
  compare(readBandwidth(), std::move(subjects), "GB/s", options, ratios);
}

void measurePrefill(Ops& ops, const Options& options, std::vector<Ratio>& ratios) {
  std::vector<Subject> subjects;
  for (const int kvHeads : {kHeads, 4, 1}) {
    for (const float rate : {0.0f, 0.1f}) {
      const auto problem = std::make_shared<PrefillProblem>(kvHeads, rate);
      const std::string name = groupName(kvHeads) + (rate > 0.0f ? " with dropout" : "");
      subjects.push_back({.name = "prefill " + name + ", 4 x 512 tokens",
                          .work = 2.0 * PrefillProblem::kProductWork,
                          .run = [&ops, problem] { ops.attentionPrefill(problem->forward()); }});
      subjects.push_back(
          {.name = "backward " + name + ", 4 x 512 tokens",
           .work = 5.0 * PrefillProblem::kProductWork,
           .run = [&ops, problem] { ops.attentionPrefillBackward(problem->backward()); }});
    }
  }
  compare(productRate(DType::float32).value(), std::move(subjects), "GFLOP/s", options, ratios);
}

int run(int argc, char** argv) {
  Options options;
  if (!parseOptions(argc, argv, options)) return 2;
  const std::unique_ptr<Ops> ops = makeCpuOps();
  std::vector<Ratio> ratios;
  measureDecode(*ops, options, ratios);
  measurePrefill(*ops, options, ratios);
  return report("attention on the CPU, 12 heads of 64", ratios, options);
}

}  // namespace
}  // namespace wgqa::bench

int main(int argc, char** argv) { return wgqa::bench::run(argc, argv); }
