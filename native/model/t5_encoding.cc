#include "model/t5_encoding.h"

#include <algorithm>
#include <utility>

namespace wgqa {
namespace {

// Rows that are always done together: enough that reading a layer's weights pays.
constexpr std::int64_t kSliceRows = 64;

TensorView allocated(Memory& memory, Buffer& buffer, DType dtype,
                     std::initializer_list<std::int64_t> shape) {
  TensorView view(nullptr, dtype, shape);
  buffer = Buffer(memory, static_cast<std::size_t>(view.bytes()));
  view.data = buffer.as<void>();
  return view;
}

}  // namespace

EncodingCost::EncodingCost(const T5Config& config) {
  const auto kvSize = [&](AttentionModule module, std::int64_t layer) {
    return 2 * config.module(module).kvHeadsIn(layer) * config.dKv;
  };
  const std::int64_t feedForwardProducts = config.gated ? 3 : 2;
  keyValues = config.dModel * kvSize(AttentionModule::encoderSelf, 0);
  block = config.dModel * (2 * config.innerDim() + feedForwardProducts * config.dFf);
  key = 2 * config.innerDim();
  cross = 0;
  for (std::int64_t layer = 0; layer < config.decoderLayers; ++layer) {
    cross += config.dModel * kvSize(AttentionModule::decoderCross, layer);
  }
  token = config.encoderLayers * (keyValues + block) + cross;
}

T5Encoding::T5Encoding(T5Model& model, T5Layers& layers, SourceBatch batch)
    : model_(model),
      layers_(layers),
      batch_(std::move(batch)),
      cost_(model.config()),
      pass_(layers, {batch_.offsets}, allocate(model.config())),
      left_(tokens() * cost_.token + model.config().encoderLayers * attentionCost({0, tokens()})) {}

T5EncoderPass::State T5Encoding::allocate(const T5Config& config) {
  const std::int64_t kvHeads = config.module(AttentionModule::encoderSelf).kvHeadsIn(0);
  Memory& memory = layers_.ops().memory();
  const DType dtype = layers_.attentionInput();
  return {allocated(memory, hidden_, DType::float32, {tokens(), config.dModel}),
          {allocated(memory, keys_, dtype, {tokens(), kvHeads, config.dKv}),
           allocated(memory, values_, dtype, {tokens(), kvHeads, config.dKv})}};
}

void T5Encoding::advance(std::int64_t work) {
  const T5Model::CurrentWeights weights(model_, layers_.ops());
  std::int64_t budget = std::min(work, workLeft()) * cost_.token;
  std::int64_t cost = 0;
  do {
    const Rows rows = rowsWithin(budget, cost);
    layers_.arena().reset();
    run(*weights, rows);
    moveOn(rows);
    left_ -= cost;
    budget -= cost;
  } while (left_ > 0 && costOf(nextRows(row_)) <= budget);
}

// ---------------------------------------------------------------------------- what comes next

// The rows of a batch attend to all keys of their own sources.
std::int64_t T5Encoding::attentionCost(Rows rows) const {
  const RaggedOffsets offsets{batch_.offsets};
  std::int64_t keys = 0;
  for (std::int64_t source = 0; source < offsets.sequences(); ++source) {
    const std::int64_t begin = std::max<std::int64_t>(rows.begin, offsets.offsets[source]);
    const std::int64_t end = std::min<std::int64_t>(rows.end(), offsets.offsets[source + 1]);
    keys += std::max<std::int64_t>(0, end - begin) * offsets.length(source);
  }
  return keys * cost_.key;
}

std::int64_t T5Encoding::costOf(Rows rows) const {
  switch (phase_) {
    case Phase::keyValues:
      return rows.count * cost_.keyValues;
    case Phase::block:
      return rows.count * cost_.block + attentionCost(rows);
    case Phase::cross:
      return rows.count * cost_.cross;
  }
  return 0;
}

T5Encoding::Rows T5Encoding::nextRows(std::int64_t from) const {
  return {from, std::min(kSliceRows, tokens() - from)};
}

// The next rows of the phase: at least one slice, and more while they fit.
T5Encoding::Rows T5Encoding::rowsWithin(std::int64_t budget, std::int64_t& cost) const {
  Rows rows = nextRows(row_);
  cost = costOf(rows);
  // More of them at once would pay no further and only take scratch memory.
  while (rows.count < layers_.ops().saturatingRows() && rows.end() < tokens()) {
    const Rows more = nextRows(rows.end());
    const std::int64_t moreCost = costOf(more);
    if (cost + moreCost > budget) break;
    rows.count += more.count;
    cost += moreCost;
  }
  return rows;
}

void T5Encoding::moveOn(Rows rows) {
  row_ = rows.end();
  if (row_ < tokens()) return;
  row_ = 0;
  if (phase_ == Phase::keyValues) {
    phase_ = Phase::block;
  } else {
    ++layer_;
    phase_ = layer_ < model_.config().encoderLayers ? Phase::keyValues : Phase::cross;
  }
}

// ---------------------------------------------------------------------------- doing it

void T5Encoding::run(const T5Weights& weights, Rows rows) {
  switch (phase_) {
    case Phase::keyValues:
      if (layer_ == 0) pass_.embed(weights, batch_.ids, rows);
      return pass_.keyValues(weights, layer_, rows);
    case Phase::block:
      return pass_.block(weights, layer_, rows);
    case Phase::cross:
      return appendCross(weights, rows);
  }
}

void T5Encoding::appendCross(const T5Weights& weights, Rows rows) {
  const TensorView states = layers_.arena().make(linearInput(model_.computeDtype()),
                                                 {rows.count, model_.config().dModel});
  pass_.states(weights, rows, states);
  const std::span slots = std::span(batch_.slots).subspan(rows.begin, rows.count);
  for (std::size_t layer = 0; layer < batch_.cache.size(); ++layer) {
    const ArenaScope scope(layers_.arena());
    const KeyValue keyValue = layers_.keyValue(weights.decoder.blocks[layer].cross, states);
    layers_.append(keyValue, slots, batch_.cache[layer]);
  }
}

}  // namespace wgqa
