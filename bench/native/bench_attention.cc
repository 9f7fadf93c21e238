// Speed of attention on the CPU: decode against the machine's read bandwidth, prefill and its
// backward pass against oneDNN's matrix product, all measured in one run.
#include <memory>

#include "attention_problems.h"
#include "bench_support.h"
#include "host_limits.h"

namespace wgqa::bench {
namespace {

constexpr int kHeads = 12;

void measureDecode(Ops& ops, const Options& options, std::vector<Ratio>& ratios) {
  std::vector<Subject> subjects;
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
    for (const int kvHeads : {kHeads, 4, 1}) {
      for (const bool isShuffled : {false, true}) {
        const auto problem = std::make_shared<DecodeProblem>(
            ops, DecodeShape{.kvHeads = kvHeads, .cacheType = dtype, .isShuffled = isShuffled});
        subjects.push_back({.name = "decode " + groupName(kHeads, kvHeads) + " " +
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
      const auto problem = std::make_shared<PrefillProblem>(
          ops, PrefillShape{.kvHeads = kvHeads, .dropoutRate = rate});
      const std::string name = groupName(kHeads, kvHeads) + (rate > 0.0f ? " with dropout" : "");
      subjects.push_back({.name = "prefill " + name + ", 4 x 512 tokens",
                          .work = 2.0 * problem->productWork(),
                          .run = [&ops, problem] { ops.attentionPrefill(problem->forward()); }});
      subjects.push_back(
          {.name = "backward " + name + ", 4 x 512 tokens",
           .work = 5.0 * problem->productWork(),
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
