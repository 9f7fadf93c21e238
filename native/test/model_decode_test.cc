// T5 as a decode engine uses it: encodings in slices, steps over a paged cache.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "harness.h"
#include "model/t5_inference.h"
#include "model_decode_fixture.h"
#include "model_fixture.h"

namespace wgqa::test {
namespace {

// Step decoding adds up attention in another order than teacher forcing does.
constexpr double kFloat32 = 1e-5;
// With bfloat16 the cache, too, keeps 8 bits of the keys and values that teacher forcing has whole.
constexpr double kBFloat16 = 4e-2;
constexpr double kFloat16 = kBFloat16 / 8;  // three bits more

double toleranceOf(DType dtype) {
  if (dtype == DType::float32) return kFloat32;
  return dtype == DType::float16 ? kFloat16 : kBFloat16;
}

constexpr std::int64_t kAllAtOnce = std::int64_t{1} << 40;

// Shorter and longer than a slice, none of them a multiple of anything.
std::vector<Tokens> someSources() {
  return {someTokens(1, 1), someTokens(70, 2), someTokens(3, 3), someTokens(131, 4),
          someTokens(65, 5)};
}

std::vector<std::size_t> allSources(const std::vector<Tokens>& sources) {
  std::vector<std::size_t> order(sources.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

std::vector<std::vector<std::byte>> contentsOf(const PagedMemory& memory, std::size_t sequences) {
  std::vector<std::vector<std::byte>> all;
  for (std::size_t i = 0; i < sequences; ++i) all.push_back(memory.contents(i));
  return all;
}

// Calls visit(model, kind) for each kind of model on each backend.
template <typename Visit>
void forEachModel(const Visit& visit) {
  for (const ModelBackend& backend : kBackends) {
    for (const ModelKind& kind : modelKinds()) {
      if (backend.make()->whyUnsupported({kind.dtype})) continue;  // float16 on the CPU
      const int failures = failuresOfRunningTest();
      const auto model = modelOf(kind, backend);
      const auto decoder = model->makeEncoderDecoder(backend.make());
      visit(*model, *decoder, kind);
      if (failuresOfRunningTest() > failures) note(backend.name + ": " + nameOf(kind));
    }
  }
}

WGQA_TEST(modelEncodingDoesNotDependOnSlicesOrBatch) {
  const std::vector<Tokens> sources = someSources();
  forEachModel([&](T5Model&, EncoderDecoder& decoder, const ModelKind& kind) {
    const PagedMemory whole = crossMemory(decoder, sources, kind.dtype);
    encode(decoder, sources, allSources(sources), whole, kAllAtOnce);
    const auto expected = contentsOf(whole, sources.size());
    for (const std::int64_t work : {1, 40, 150}) {
      const PagedMemory sliced = crossMemory(decoder, sources, kind.dtype);
      encode(decoder, sources, {4, 2, 0, 3, 1}, sliced, work);
      CHECK(contentsOf(sliced, sources.size()) == expected);
    }
    const PagedMemory alone = crossMemory(decoder, sources, kind.dtype);
    for (std::size_t i = 0; i < sources.size(); ++i) encode(decoder, sources, {i}, alone, 30);
    CHECK(contentsOf(alone, sources.size()) == expected);
  });
}

WGQA_TEST(modelEncodingsMayAlternate) {
  const std::vector<Tokens> sources = someSources();
  const auto model = smallModel(true, makeCpuOps());
  const auto decoder = model->makeEncoderDecoder(makeCpuOps());
  const PagedMemory whole = crossMemory(*decoder, sources, DType::float32);
  encode(*decoder, sources, allSources(sources), whole, kAllAtOnce);
  const PagedMemory mixed = crossMemory(*decoder, sources, DType::float32);
  const auto first = decoder->startEncoding(batchOf(sources, {3, 0}, mixed));
  const auto second = decoder->startEncoding(batchOf(sources, {1, 2, 4}, mixed));
  while (first->workLeft() > 0 || second->workLeft() > 0) {
    if (first->workLeft() > 0) first->advance(20);
    if (second->workLeft() > 0) second->advance(9);
  }
  CHECK(contentsOf(mixed, sources.size()) == contentsOf(whole, sources.size()));
}

WGQA_TEST(modelEncodingWorkFallsAsAsked) {
  const std::vector<Tokens> sources = {someTokens(300, 1), someTokens(5, 2)};
  const auto model = smallModel(true, makeCpuOps());
  const auto decoder = model->makeEncoderDecoder(makeCpuOps());
  const PagedMemory memory = crossMemory(*decoder, sources, DType::float32);
  const auto start = [&] { return decoder->startEncoding(batchOf(sources, {0, 1}, memory)); };
  CHECK(start()->workLeft() > 305);  // each token at least its own, and attention
  CHECK_EQUAL(decoder->startEncoding(batchOf(sources, {1}, memory))->workLeft(), 6);
  for (const std::int64_t work : {1, 100, 333}) {
    const auto encoding = start();
    std::int64_t calls = 0;
    for (std::int64_t before = encoding->workLeft(); before > 0; ++calls) {
      encoding->advance(work);
      const std::int64_t after = encoding->workLeft();
      // A slice of a layer of this small model takes up to 80; both ends are rounded up.
      CHECK(after <= before && before - after <= std::max<std::int64_t>(work, 80) + 1);
      before = after;
    }
    CHECK(calls >= start()->workLeft() / (std::max<std::int64_t>(work, 80) + 1));
  }
  const auto encoding = start();
  encoding->advance(encoding->workLeft());
  CHECK_EQUAL(encoding->workLeft(), 0);
}

// Feeds every target token of the batch to its sequence, step by step; logits as teacherForced's.
std::vector<float> logitsByStep(EncoderDecoder& decoder, const SmallBatch& batch, DType dtype) {
  std::vector<Tokens> sources, targets;
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i + 1 < batch.encoderOffsets.size(); ++i) {
    sources.emplace_back(batch.encoderIds.begin() + batch.encoderOffsets[i],
                         batch.encoderIds.begin() + batch.encoderOffsets[i + 1]);
    targets.emplace_back(batch.decoderIds.begin() + batch.decoderOffsets[i],
                         batch.decoderIds.begin() + batch.decoderOffsets[i + 1]);
    lengths.push_back(static_cast<std::int64_t>(targets.back().size()));
  }
  const PagedMemory cross = crossMemory(decoder, sources, dtype);
  const PagedMemory self = selfMemory(decoder, lengths, dtype);
  encode(decoder, sources, allSources(sources), cross, 1);
  const auto vocab = static_cast<std::size_t>(decoder.vocabSize());
  std::vector<float> logits(batch.decoderIds.size() * vocab);
  for (std::int32_t position = 0; position < std::ranges::max(lengths); ++position) {
    std::vector<StepRow> rows;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (position < lengths[i]) rows.push_back({i, position, targets[i][position]});
    }
    const auto made = step(decoder, rows, allRows(rows.size()), self, cross, sources);
    for (std::size_t row = 0; row < rows.size(); ++row) {
      const std::size_t token = batch.decoderOffsets[rows[row].sequence] + position;
      std::copy_n(made.begin() + row * vocab, vocab, logits.begin() + token * vocab);
    }
  }
  return logits;
}

WGQA_TEST(modelStepDecodingIsTeacherForcing) {
  const SmallBatch batch;
  forEachModel([&](T5Model& model, EncoderDecoder& decoder, const ModelKind& kind) {
    CHECK(relativeError(logitsByStep(decoder, batch, kind.dtype), logitsOf(model, batch)) <
          toleranceOf(kind.dtype));
  });
}

// Two sequences of five and seven tokens over their sources.
struct TwoSequences {
  std::vector<Tokens> sources = {someTokens(9, 1), someTokens(30, 2)};
  std::vector<Tokens> targets = {someTokens(5, 3), someTokens(7, 4)};

  PagedMemory self(const EncoderDecoder& decoder, DType dtype) const {
    return selfMemory(decoder, {5, 7}, dtype);
  }
  std::vector<StepRow> rows() const {
    std::vector<StepRow> all;
    for (std::size_t sequence = 0; sequence < targets.size(); ++sequence) {
      for (std::int32_t i = 0; i < static_cast<std::int32_t>(targets[sequence].size()); ++i) {
        all.push_back({sequence, i, targets[sequence][i]});
      }
    }
    return all;
  }
};

WGQA_TEST(modelTokensFedAtOnceAreTokensFedOneByOne) {
  const TwoSequences two;
  const std::vector<StepRow> rows = two.rows();
  forEachModel([&](T5Model&, EncoderDecoder& decoder, const ModelKind& kind) {
    const PagedMemory cross = crossMemory(decoder, two.sources, kind.dtype);
    encode(decoder, two.sources, {0, 1}, cross, kAllAtOnce);
    const PagedMemory together = two.self(decoder, kind.dtype);
    const auto atOnce = step(decoder, rows, allRows(rows.size()), together, cross, two.sources);
    const PagedMemory apart = two.self(decoder, kind.dtype);
    std::vector<float> oneByOne;
    for (const StepRow& row : rows) {
      const auto logits = step(decoder, {row}, {0}, apart, cross, two.sources);
      oneByOne.insert(oneByOne.end(), logits.begin(), logits.end());
    }
    CHECK(atOnce == oneByOne);
    CHECK(contentsOf(together, 2) == contentsOf(apart, 2));
  });
}

WGQA_TEST(modelMakesLogitsOfTheWantedRowsOnly) {
  const TwoSequences two;
  const std::vector<StepRow> rows = two.rows();
  forEachModel([&](T5Model&, EncoderDecoder& decoder, const ModelKind& kind) {
    const PagedMemory cross = crossMemory(decoder, two.sources, kind.dtype);
    encode(decoder, two.sources, {0, 1}, cross, kAllAtOnce);
    const PagedMemory first = two.self(decoder, kind.dtype);
    const auto all = step(decoder, rows, allRows(rows.size()), first, cross, two.sources);
    const auto vocab = static_cast<std::size_t>(decoder.vocabSize());
    for (const Tokens& wanted : {Tokens{}, Tokens{0}, Tokens{4, 11}, Tokens{1, 2, 7}}) {
      std::vector<float> expected;
      for (const std::int32_t row : wanted) {
        expected.insert(expected.end(), all.begin() + row * vocab, all.begin() + (row + 1) * vocab);
      }
      const PagedMemory again = two.self(decoder, kind.dtype);
      CHECK(step(decoder, rows, wanted, again, cross, two.sources) == expected);
      CHECK(contentsOf(again, 2) == contentsOf(first, 2));
    }
  });
}

WGQA_TEST(modelCountsTheWeightBytesOfSteps) {
  const TwoSequences two;
  const auto model = smallModel(true, makeCpuOps());
  const auto decoder = model->makeEncoderDecoder(makeCpuOps());
  const PagedMemory cross = crossMemory(*decoder, two.sources, DType::float32);
  encode(*decoder, two.sources, {0, 1}, cross, kAllAtOnce);
  CHECK_EQUAL(decoder->weightBytesRead(), 0);
  const PagedMemory self = two.self(*decoder, DType::float32);
  step(*decoder, {{0, 0, 2}}, {}, self, cross, two.sources);
  const std::int64_t withoutHead = decoder->weightBytesRead();
  CHECK(withoutHead > 0);
  step(*decoder, {{0, 1, 2}}, {0}, self, cross, two.sources);
  CHECK_EQUAL(decoder->weightBytesRead() - 2 * withoutHead,
              model->config().vocabSize * model->config().dModel * 4);
}

}  // namespace
}  // namespace wgqa::test
