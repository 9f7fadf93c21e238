// One model on several threads: decode engines, and updates of the parameters between their calls.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <thread>

#include "base/parallel.h"
#include "harness.h"
#include "model/t5_inference.h"
#include "model_decode_fixture.h"
#include "model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

constexpr std::int64_t kAllAtOnce = std::int64_t{1} << 40;
constexpr int kRounds = 25;  // of each engine: some hundred calls between updates

using Values = std::vector<std::vector<float>>;

Values valuesOf(T5Model& model) {
  Values values;
  for (const auto& parameter : model.parameters().all()) {
    parameter->copyTo(model.ops(), DType::float32,
                      values.emplace_back(parameter->elements()).data());
  }
  return values;
}

void write(T5Model& model, const Values& values) {
  const T5Model::ParameterUpdate update(model);
  for (std::size_t i = 0; i < values.size(); ++i) {
    Parameter& parameter = *model.parameters().all()[i];
    model.ops().upload(values[i].data(), update.writable(parameter));
  }
}

// What an engine computes in one round: an encoding in one call, then a step in another.
class Round {
 public:
  Round(EncoderDecoder& decoder, DType dtype)
      : decoder_(decoder),
        cross_(crossMemory(decoder, sources_, dtype)),
        self_(selfMemory(decoder, {1, 1}, dtype)) {}

  std::vector<std::byte> encoded() {
    encode(decoder_, sources_, {0, 1}, cross_, kAllAtOnce);
    std::vector<std::byte> all = cross_.contents(0);
    const std::vector<std::byte> second = cross_.contents(1);
    all.insert(all.end(), second.begin(), second.end());
    return all;
  }
  std::vector<float> logits() {
    return step(decoder_, {{0, 0, 5}, {1, 0, 6}}, {0, 1}, self_, cross_, sources_);
  }

 private:
  std::vector<Tokens> sources_ = {someTokens(9, 1), someTokens(20, 2)};
  EncoderDecoder& decoder_;
  PagedMemory cross_;
  PagedMemory self_;
};

// One thread in the parallel regions of the calling thread: more would only be in the way here, and
// ThreadSanitizer does not understand OpenMP's.
class OneThread {
 public:
  OneThread() { setThreadCount(1); }
  ~OneThread() { setThreadCount(0); }
};

// Runs `engine` with two encoder-decoders on threads of their own, and meanwhile `owner` on this
// one, again and again.
void runTogether(T5Model& model, const ModelBackend& backend,
                 const std::function<void(EncoderDecoder&)>& engine,
                 const std::function<void()>& owner) {
  constexpr int kEngines = 2;
  std::atomic<int> running = kEngines;
  std::vector<std::thread> threads;
  for (int i = 0; i < kEngines; ++i) {
    threads.emplace_back([&] {
      const OneThread alone;
      const auto decoder = model.makeEncoderDecoder(backend.make());
      engine(*decoder);
      --running;
    });
  }
  do {
    owner();
  } while (running > 0);
  for (std::thread& thread : threads) thread.join();
}

// The outcomes of a round under two sets of values, alone.
struct Outcomes {
  std::array<std::vector<std::byte>, 2> encoded;
  std::vector<std::vector<float>> logits;  // of either set over encodings of either
};

Outcomes outcomesOf(T5Model& model, const ModelBackend& backend,
                    const std::array<Values, 2>& sets) {
  Outcomes outcomes;
  const auto decoder = model.makeEncoderDecoder(backend.make());
  for (std::size_t i = 0; i < 2; ++i) {
    Round round(*decoder, model.computeDtype());
    write(model, sets[i]);
    outcomes.encoded[i] = round.encoded();
    for (const Values& values : sets) {
      write(model, values);
      outcomes.logits.push_back(round.logits());
    }
  }
  return outcomes;
}

WGQA_TEST(modelCallsSeeAllOfAnUpdateOrNothing) {
  const OneThread alone;
  for (const ModelBackend& backend : kBackends) {
    for (const ModelKind& kind : {ModelKind{false, 4, false}, ModelKind{true, 2, true},
                                  ModelKind{true, 4, false, DType::bfloat16}}) {
      const auto model = modelOf(kind, backend);
      std::array<Values, 2> sets = {valuesOf(*model), valuesOf(*model)};
      for (std::vector<float>& values : sets[1]) {
        for (float& value : values) value *= 1.25f;
      }
      const Outcomes known = outcomesOf(*model, backend, sets);
      CHECK(known.encoded[0] != known.encoded[1]);
      CHECK(known.logits[0] != known.logits[1] && known.logits[0] != known.logits[3]);
      std::atomic<int> strange = 0;
      const auto engine = [&](EncoderDecoder& decoder) {
        for (int i = 0; i < kRounds; ++i) {
          Round round(decoder, kind.dtype);
          strange += std::ranges::count(known.encoded, round.encoded()) == 0 ? 1 : 0;
          strange += std::ranges::count(known.logits, round.logits()) == 0 ? 1 : 0;
        }
      };
      int updates = 0;
      runTogether(*model, backend, engine, [&] { write(*model, sets[++updates % 2]); });
      CHECK_EQUAL(strange.load(), 0);
    }
  }
}

WGQA_TEST(modelTrainsWhileEnginesDecode) {
  const OneThread alone;
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  for (const ModelBackend& backend : kBackends) {
    const ModelKind kind{true, 2, true};
    const auto model = modelOf(kind, backend);
    const auto quietModel = modelOf(kind, backend);
    const std::uint64_t version = model->weightsVersion();
    Trainer trainer(*model, {});
    int steps = 0;
    const auto engine = [&](EncoderDecoder& decoder) {
      for (int i = 0; i < kRounds; ++i) {
        Round round(decoder, kind.dtype);
        round.encoded();
        round.logits();
      }
    };
    runTogether(*model, backend, engine, [&] {
      trainer.step({&view, 1}, 1e-4f, nullptr);
      model->inference().teacherForced(view, {}, {}, nullptr);
      ++steps;
    });
    CHECK(model->weightsVersion() != version);
    // Nobody noticed: training went as it does alone, and engines have the values it ended with.
    Trainer quiet(*quietModel, {});
    for (int i = 0; i < steps; ++i) quiet.step({&view, 1}, 1e-4f, nullptr);
    CHECK(valuesOf(*model) == valuesOf(*quietModel));
    const auto first = model->makeEncoderDecoder(backend.make());
    const auto second = quietModel->makeEncoderDecoder(backend.make());
    Round one(*first, kind.dtype), other(*second, kind.dtype);
    CHECK(one.encoded() == other.encoded());
    CHECK(one.logits() == other.logits());
  }
}

WGQA_TEST(modelEncodingOutlivesAnUpdate) {
  const auto model = smallModel(true, makeCpuOps());
  const auto decoder = model->makeEncoderDecoder(makeCpuOps());
  const std::vector<Tokens> sources = {someTokens(200, 1)};
  const PagedMemory memory = crossMemory(*decoder, sources, DType::float32);
  const auto encoding = decoder->startEncoding(batchOf(sources, {0}, memory));
  encoding->advance(1);
  const std::uint64_t version = decoder->weightsVersion();
  Values values = valuesOf(*model);
  for (float& value : values[0]) value += 1.0f;
  write(*model, values);
  CHECK(decoder->weightsVersion() != version);
  while (encoding->workLeft() > 0) encoding->advance(1);
  const std::vector<std::byte> between = memory.contents(0);
  encode(*decoder, sources, {0}, memory, kAllAtOnce);
  CHECK(memory.contents(0) != between);
}

WGQA_TEST(modelUpdateDropsThePackedWeights) {
  const auto model = smallModel(true, makeCpuOps());
  const auto decoder = model->makeEncoderDecoder(makeCpuOps());
  CHECK_EQUAL(model->packedBytes(), 0);
  Round round(*decoder, DType::float32);
  round.encoded();
  CHECK(model->packedBytes() > 0);
  write(*model, valuesOf(*model));
  CHECK_EQUAL(model->packedBytes(), 0);
}

}  // namespace
}  // namespace wgqa::test
