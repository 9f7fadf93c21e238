#include "model/step_timing.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/parallel.h"
#include "model/decode_step.h"
#include "model/t5_model.h"

namespace wgqa {
namespace {

// As every byte of a number, 0.0115 in float32 and bfloat16, and 1.06 in float16: weights and
// caches of it overflow nothing, and are no denormal numbers, which would be slow.
constexpr int kByte = 0x3c;
constexpr std::int64_t kBlockTokens = 16;
constexpr std::int64_t kFillGrain = 1 << 18;

std::shared_ptr<Buffer> filled(std::int64_t bytes) {
  auto buffer = std::make_shared<Buffer>(static_cast<std::size_t>(bytes));
  parallelFor(bytes, kFillGrain, [&](std::int64_t begin, std::int64_t end, int) {
    std::memset(buffer->as<std::byte>() + begin, kByte, static_cast<std::size_t>(end - begin));
  });
  return buffer;
}

std::int64_t elementsOf(const DeclaredParameter& declared) {
  return std::accumulate(declared.shape.begin(), declared.shape.end(), std::int64_t{1},
                         std::multiplies<>());
}

// All parameters borrow the same memory: packing copies what it reads.
ParameterSet madeUpParameters(const T5Config& config) {
  const std::vector<DeclaredParameter> declared = declareT5Parameters(config);
  std::int64_t most = 0;
  for (const DeclaredParameter& one : declared) most = std::max(most, elementsOf(one));
  const auto memory = filled(most * static_cast<std::int64_t>(sizeof(float)));
  ParameterSet parameters;
  for (const DeclaredParameter& one : declared) {
    parameters.add({one.name, one.shape, DType::float32, memory, memory->as<void>()});
  }
  return parameters;
}

// The K and V of `rows` sequences of `tokens` each in every layer, in blocks in order.
class MadeUpCache {
 public:
  MadeUpCache(std::span<const std::int64_t> kvHeads, std::int64_t headDim, std::int64_t rows,
              std::int64_t tokens, DType dtype)
      : blocksPerRow_((tokens + kBlockTokens - 1) / kBlockTokens) {
    const std::int64_t count = rows * blocksPerRow_;
    blocks_.resize(static_cast<std::size_t>(count));
    std::iota(blocks_.begin(), blocks_.end(), 0);
    for (std::int64_t row = 0; row <= rows; ++row) {
      offsets_.push_back(static_cast<std::int32_t>(row * blocksPerRow_));
    }
    lengths_.assign(static_cast<std::size_t>(rows), static_cast<std::int32_t>(tokens));
    for (const std::int64_t heads : kvHeads) addLayer(heads, headDim, count, dtype);
  }

  std::span<const LayerCache> layers() const { return layers_; }
  BlockTables tables() const { return {blocks_, offsets_, lengths_}; }
  // Where the last token of each row goes.
  std::vector<std::int64_t> lastSlots() const {
    std::vector<std::int64_t> slots;
    for (std::size_t row = 0; row < lengths_.size(); ++row) {
      const auto first = static_cast<std::int64_t>(row) * blocksPerRow_ * kBlockTokens;
      slots.push_back(first + lengths_[row] - 1);
    }
    return slots;
  }

 private:
  void addLayer(std::int64_t heads, std::int64_t headDim, std::int64_t count, DType dtype) {
    const std::int64_t elements = count * heads * headDim * kBlockTokens;
    const std::int64_t side = elements * static_cast<std::int64_t>(bytesOf(dtype));
    memory_.push_back(filled(2 * side));
    std::byte* data = memory_.back()->as<std::byte>();
    LayerCache layer{.keys = {data, dtype, {count, heads, headDim, kBlockTokens}},
                     .values = {data + side, dtype, {count, heads, kBlockTokens, headDim}},
                     .keyScales = {},
                     .valueScales = {}};
    if (dtype == DType::int8) {
      const std::int64_t scales = count * heads * kBlockTokens;
      memory_.push_back(filled(2 * scales * static_cast<std::int64_t>(sizeof(float))));
      float* floats = memory_.back()->as<float>();
      layer.keyScales = {floats, DType::float32, {count, heads, kBlockTokens}};
      layer.valueScales = {floats + scales, DType::float32, {count, heads, kBlockTokens}};
    }
    layers_.push_back(layer);
  }

  std::int64_t blocksPerRow_;
  std::vector<std::int32_t> blocks_, offsets_, lengths_;
  std::vector<LayerCache> layers_;
  std::vector<std::shared_ptr<Buffer>> memory_;
};

// A model in one type, and a step of it that can be repeated.
class Contender {
 public:
  Contender(const T5Config& config, const StepTypes& types, const StepTimingOptions& options,
            const std::function<std::unique_ptr<Ops>()>& makeOps)
      : model_(config, madeUpParameters(config), makeOps(), types.compute),
        decoder_(model_.makeEncoderDecoder(makeOps())),
        shape_(decoder_->cacheShape()),
        self_(shape_.selfKvHeads, shape_.headDim, options.rows, options.targetTokens, types.cache),
        cross_(shape_.crossKvHeads, shape_.headDim, options.rows, options.sourceTokens,
               types.cache),
        slots_(self_.lastSlots()),
        tokens_(static_cast<std::size_t>(options.rows), 0),
        rows_(static_cast<std::size_t>(options.rows)),
        choices_(rows_.size()),
        chosen_(rows_.size()) {
    std::iota(rows_.begin(), rows_.end(), 0);
    for (std::size_t row = 0; row < choices_.size(); ++row) {
      choices_[row].row = static_cast<std::int32_t>(row);
      choices_[row].firstResult = static_cast<std::int64_t>(row);
    }
  }

  void run() {
    DecodeStep step;
    step.tokens = tokens_;
    step.selfCache = self_.layers();
    step.self = self_.tables();
    step.selfSlots = slots_;
    step.crossCache = cross_.layers();
    step.cross = cross_.tables();
    step.logitRows = rows_;
    step.choices.rows = choices_;
    step.chosen = chosen_;
    decoder_->decodeStep(step);
  }

 private:
  T5Model model_;
  std::unique_ptr<EncoderDecoder> decoder_;
  EncoderDecoder::CacheShape shape_;
  MadeUpCache self_, cross_;
  std::vector<std::int64_t> slots_;
  std::vector<std::int32_t> tokens_, rows_;
  std::vector<RowChoice> choices_;
  std::vector<ChosenToken> chosen_;
};

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

std::vector<std::vector<double>> timeDecodeSteps(
    const T5Config& config, std::span<const StepTypes> types, const StepTimingOptions& options,
    const std::function<std::unique_ptr<Ops>()>& makeOps) {
  std::vector<std::unique_ptr<Contender>> contenders;
  for (const StepTypes& one : types) {
    const ComputeNeeds needs{.dtype = one.compute, .headDim = config.dKv, .cache = one.cache};
    const bool isSupported = !makeOps()->whyUnsupported(needs);
    contenders.push_back(isSupported ? std::make_unique<Contender>(config, one, options, makeOps)
                                     : nullptr);
    if (isSupported) contenders.back()->run();  // packs the weights
  }
  std::vector<std::vector<double>> seconds(types.size());
  const Clock::time_point start = Clock::now();
  for (std::int64_t round = 0; round < options.maxRounds; ++round) {
    if (round >= options.minRounds && secondsSince(start) > options.seconds) break;
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      if (!contenders[i]) continue;
      const Clock::time_point begin = Clock::now();
      contenders[i]->run();
      seconds[i].push_back(secondsSince(begin));
    }
  }
  return seconds;
}

}  // namespace wgqa
