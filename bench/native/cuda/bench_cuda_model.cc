// Whole models on a CUDA device, with random weights: generation with Flan-T5-XL's shape against
// what NVIDIA published for TensorRT-LLM on an H100, and a training step of T5-base's shape against
// the matrix peak of the same run.
#include <chrono>
#include <cstdio>
#include <memory>

#include "bench_support.h"
#include "cuda/device_limits.h"
#include "decode/scheduler.h"
#include "ops/cuda/backend.h"
#include "training_problem.h"

namespace wgqa::bench {
namespace {

constexpr std::int64_t kSourceTokens = 350;
constexpr std::int64_t kNewTokens = 128;

// TensorRT-LLM 0.12's table of encoder-decoder models: Flan-T5-XL, one H100, bfloat16, 350 source
// and 128 new tokens, milliseconds.
struct Published {
  std::int64_t batch;
  double milliseconds;
};
constexpr Published kPublished[] = {{32, 706.0}, {64, 1137.0}, {128, 1999.0}};

T5Config flanT5Xl(std::int64_t kvHeads) {
  T5Config config = t5Config(24, 32, 2048, 5120);
  config.gated = true;
  config.activation = Activation::geluTanh;
  config.tiedEmbeddings = false;
  config.scaleDecoderOutputs = false;
  config.module(AttentionModule::decoderSelf).kvHeads = kvHeads;
  config.module(AttentionModule::decoderCross).kvHeads = kvHeads;
  return config;
}

// Greedy requests without an end token, each with a source of its own.
class GenerationProblem {
 public:
  GenerationProblem(std::int64_t kvHeads, std::int64_t batch, DType weights)
      : batch_(batch),
        model_(flanT5Xl(kvHeads), initialT5Parameters(flanT5Xl(kvHeads), 1), makeCudaOps(),
               weights),
        encoderDecoder_(model_.makeEncoderDecoder(makeCudaOps())),
        scheduler_(*encoderDecoder_, {.blockTokens = 64,
                                      .maxCacheBytes = std::int64_t{24} << 30,
                                      .cacheDtype = DType::bfloat16,
                                      .maxBatchSize = batch,
                                      .maxBatchTokens = 8192}) {}

  void run() {
    for (std::int64_t i = 0; i < batch_; ++i) {
      GenerationRequest request;
      for (std::int64_t token = 0; token < kSourceTokens; ++token) {
        request.inputIds.push_back(static_cast<std::int32_t>(2 + (7919 * last_ + token) % 32000));
      }
      request.options.maxNewTokens = kNewTokens;
      scheduler_.submit(++last_, std::move(request));
    }
    while (scheduler_.hasWork()) {
      EngineEvents events;
      scheduler_.step(events);
      for (const FinishEvent& event : events.finished) {
        if (event.result.error) throw *event.result.error;
      }
    }
  }

 private:
  std::int64_t batch_;
  T5Model model_;
  std::unique_ptr<EncoderDecoder> encoderDecoder_;
  Scheduler scheduler_;
  RequestId last_ = 0;
};

void measureGeneration(std::int64_t kvHeads, const Published& published, DType weights,
                       const Options& options, std::vector<Ratio>& ratios) {
  const auto problem = std::make_shared<GenerationProblem>(kvHeads, published.batch, weights);
  const auto tokens = static_cast<double>(published.batch * kNewTokens);
  std::vector<Subject> subjects = {{.name = "Flan-T5-XL's shape, " + std::to_string(kvHeads) +
                                            " of 32 K/V heads, " + std::string(dtypeName(weights)) +
                                            ", batch " + std::to_string(published.batch),
                                    .work = tokens,
                                    .run = [problem] { problem->run(); }}};
  measureInterleaved(subjects, options.repetitions);
  const Subject peer{
      .name = "TensorRT-LLM, published, 32 K/V heads, bfloat16",
      .work = tokens,
      .times = std::vector<double>(subjects.front().times.size(), published.milliseconds / 1000.0)};
  ratios.push_back(ratioOf(subjects.front(), peer, "tokens/s"));
}

void measureGeneration(const Options& options, std::vector<Ratio>& ratios) {
  for (const std::int64_t kvHeads : {32, 8}) {
    for (const Published& published : kPublished) {
      measureGeneration(kvHeads, published, DType::bfloat16, options, ratios);
    }
  }
  for (const DType weights : {DType::float16, DType::int8}) {
    measureGeneration(8, kPublished[1], weights, options, ratios);
  }
}

void measureTraining(cuda::Device& device, const Options& options, std::vector<Ratio>& ratios) {
  const TrainingShape shape{.config = t5Config(12, 12, 768, 3072),
                            .sequences = 64,
                            .sourceTokens = 512,
                            .targetTokens = 128};
  const auto problem = std::make_shared<TrainingProblem>(
      shape, makeCudaOps(), TrainingOptions{.computeDtype = DType::bfloat16});
  compare(matrixPeak(device),
          {{.name = "T5-base, training in bfloat16, " + std::to_string(shape.tokens()) + " tokens",
            .work = flopsOf(productsOfStep(shape)),
            .run = [problem] { problem->run(); }}},
          "GFLOP/s", options, ratios);
}

int run(int argc, char** argv) {
  Options options;
  options.repetitions = 5;
  if (!parseOptions(argc, argv, options)) return 2;
  if (const auto reason = whyNoCuda()) {
    std::fprintf(stderr, "%s\n", reason->c_str());
    return 1;
  }
  cuda::Device& device = cudaDevice(0);
  std::vector<Ratio> ratios;
  measureGeneration(options, ratios);
  measureTraining(device, options, ratios);
  return report("models on " + describeDevice(device), ratios, options);
}

}  // namespace
}  // namespace wgqa::bench

int main(int argc, char** argv) { return wgqa::bench::run(argc, argv); }
