// Decoding with a whole model at batch 1: bytes of weights moved per second, against the read
// bandwidth measured in turn with it. The shape is T5-base, the weights are random.
#include <chrono>
#include <numeric>

#include "bench_support.h"
#include "decode/scheduler.h"
#include "host_limits.h"
#include "model/t5_model.h"

namespace wgqa::bench {
namespace {

constexpr int kHeads = 12;
constexpr std::int64_t kSourceTokens = 64;
constexpr std::int64_t kNewTokens = 16;

T5Config t5Base(std::int64_t kvHeads) {
  T5Config config;
  config.vocabSize = 32128;
  config.dModel = 768;
  config.dKv = 64;
  config.dFf = 3072;
  config.encoderLayers = 12;
  config.decoderLayers = 12;
  config.heads = kHeads;
  config.module(AttentionModule::encoderSelf).kvHeads = kHeads;
  config.module(AttentionModule::decoderSelf).kvHeads = kvHeads;
  config.module(AttentionModule::decoderCross).kvHeads = kvHeads;
  return config;
}

// One request without an end token, so that every run takes the same number of steps.
GenerationRequest request() {
  GenerationRequest request;
  request.inputIds.resize(kSourceTokens);
  std::iota(request.inputIds.begin(), request.inputIds.end(), 2);
  request.options.maxNewTokens = kNewTokens;
  return request;
}

// Decodes one request; work and time of the subject are those of its decoding steps, encoding does
// not count.
void decodeOnce(Scheduler& scheduler, const GenerationRequest& request, Subject& subject) {
  static RequestId lastId = 0;
  const EngineStats before = scheduler.stats();
  scheduler.submit(++lastId, request);
  while (scheduler.hasWork()) {
    EngineEvents events;
    scheduler.step(events);
    for (const FinishEvent& event : events.finished) {
      if (event.result.error) throw *event.result.error;
    }
  }
  const EngineStats after = scheduler.stats();
  subject.work = static_cast<double>(after.decodeWeightBytes - before.decodeWeightBytes);
  subject.times.push_back(after.decodeSeconds - before.decodeSeconds);
}

void timeOnce(Subject& subject) {
  const auto start = std::chrono::steady_clock::now();
  subject.run();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  subject.times.push_back(elapsed.count());
}

Ratio measureDecoding(const std::string& name, std::int64_t kvHeads, DType dtype, int repetitions) {
  const T5Config config = t5Base(kvHeads);
  T5Model model(config, initialT5Parameters(config, 1), makeCpuOps(), dtype);
  const auto encoderDecoder = model.makeEncoderDecoder(makeCpuOps());
  Scheduler scheduler(*encoderDecoder,
                      {.maxCacheBytes = std::int64_t{64} << 20,
                       .cacheDtype = dtype == DType::float32 ? dtype : DType::bfloat16});
  const GenerationRequest one = request();
  Subject bandwidth = readBandwidth();
  Subject decoding{.name = name};
  decodeOnce(scheduler, one, decoding);  // packs the weights
  bandwidth.run();
  decoding.times.clear();
  for (int i = 0; i < repetitions; ++i) {
    decodeOnce(scheduler, one, decoding);
    timeOnce(bandwidth);
  }
  return ratioOf(decoding, bandwidth, "GB/s");
}

int run(const Options& options) {
  std::vector<Ratio> ratios;
  const int repetitions = options.repetitions;
  const auto add = [&](const std::string& name, std::int64_t kvHeads, DType dtype) {
    ratios.push_back(measureDecoding(name, kvHeads, dtype, repetitions));
  };
  add("T5-base, MHA, float32", kHeads, DType::float32);
  add("T5-base, MQA, float32", 1, DType::float32);
  add("T5-base, MHA, bfloat16", kHeads, DType::bfloat16);
  add("T5-base, MHA, int8", kHeads, DType::int8);
  return report("decoding at batch 1", ratios, options);
}

}  // namespace
}  // namespace wgqa::bench

int main(int argc, char** argv) {
  wgqa::bench::Options options;
  if (!wgqa::bench::parseOptions(argc, argv, options)) return 2;
  return wgqa::bench::run(options);
}
