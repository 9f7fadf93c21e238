// Speed of attention on a CUDA device: decode against the copy bandwidth, prefill and its backward
// pass against the matrix peak, all measured in one run.
#include <cstdio>
#include <memory>

#include "attention_problems.h"
#include "bench_support.h"
#include "cuda/device_limits.h"
#include "ops/cuda/backend.h"
#include "ops/cuda/cuda_ops.h"

namespace wgqa::bench {
namespace {

constexpr int kHeads = 32;
constexpr int kSequences = 64;
constexpr int kBlockTokens = 64;
// Launches that are timed as one: a small cache is read in less time than the host takes for one.
constexpr int kLaunches = 20;

// Several operations as one step, which is replayed as one graph.
std::function<void()> asStep(Ops& ops, std::function<void()> operation) {
  return [&ops, operation = std::move(operation)] {
    ops.beginStep();
    for (int i = 0; i < kLaunches; ++i) operation();
    ops.endStep();
    ops.finish();
  };
}

void measureDecode(Ops& ops, cuda::Device& device, const Options& options,
                   std::vector<Ratio>& ratios) {
  for (const int tokens : {4096, 1024}) {
    for (const DType dtype : {DType::bfloat16, DType::int8, DType::float32}) {
      std::vector<Subject> subjects;
      for (const int kvHeads : {kHeads, 8, 1}) {
        const auto problem = std::make_shared<DecodeProblem>(
            ops, DecodeShape{.sequences = kSequences,
                             .tokens = tokens,
                             .heads = kHeads,
                             .kvHeads = kvHeads,
                             .blockTokens = kBlockTokens,
                             .queryType = dtype == DType::float32 ? dtype : DType::bfloat16,
                             .cacheType = dtype});
        subjects.push_back(
            {.name = "decode " + groupName(kHeads, kvHeads) + " " + std::string(dtypeName(dtype)) +
                     ", " + std::to_string(kSequences) + " x " + std::to_string(tokens) + " tokens",
             .work = kLaunches * problem->bytes(),
             .run = asStep(ops, [&ops, problem] { ops.attentionDecode(problem->params()); })});
      }
      compare(copyBandwidth(device), std::move(subjects), "GB/s", options, ratios);
    }
  }
}

// `kernels`: told with the results, "" for those that the device takes by itself.
void measurePrefill(Ops& ops, cuda::Device& device, const std::string& kernels,
                    const Options& options, std::vector<Ratio>& ratios) {
  for (const int kvHeads : {kHeads, 8, 1}) {
    const auto problem =
        std::make_shared<PrefillProblem>(ops, PrefillShape{.sequences = 8,
                                                           .tokens = 2048,
                                                           .heads = kHeads,
                                                           .kvHeads = kvHeads,
                                                           .dtype = DType::bfloat16});
    const std::string name = groupName(kHeads, kvHeads) + " bfloat16, 8 x 2048 tokens" + kernels;
    compare(matrixPeak(device),
            {{.name = "prefill " + name,
              .work = 2.0 * problem->productWork(),
              .run =
                  [&ops, problem] {
                    ops.attentionPrefill(problem->forward());
                    ops.finish();
                  }},
             {.name = "backward " + name,
              .work = 5.0 * problem->productWork(),
              .run =
                  [&ops, problem] {
                    ops.attentionPrefillBackward(problem->backward());
                    ops.finish();
                  }}},
            "GFLOP/s", options, ratios);
  }
}

// What the instructions of a Hopper GPU gain: the kernels for older ones beside them.
void measureOtherKernels(cuda::Device& device, const Options& options, std::vector<Ratio>& ratios) {
  if (device.properties().computeCapability != 90) return;
  cuda::Device older(device.driver(), device.index(), 80);
  CudaOps ops(older);
  measurePrefill(ops, device, ", mma.sync", options, ratios);
}

int run(int argc, char** argv) {
  Options options;
  if (!parseOptions(argc, argv, options)) return 2;
  if (const auto reason = whyNoCuda()) {
    std::fprintf(stderr, "%s\n", reason->c_str());
    return 1;
  }
  cuda::Device& device = cudaDevice(0);
  const std::unique_ptr<Ops> ops = makeCudaOps();
  std::vector<Ratio> ratios;
  measureDecode(*ops, device, options, ratios);
  measurePrefill(*ops, device, "", options, ratios);
  measureOtherKernels(device, options, ratios);
  return report(
      "attention on " + describeDevice(device) + ", " + std::to_string(kHeads) + " heads of 64",
      ratios, options);
}

}  // namespace
}  // namespace wgqa::bench

int main(int argc, char** argv) { return wgqa::bench::run(argc, argv); }
