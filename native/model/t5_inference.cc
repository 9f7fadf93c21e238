#include "model/t5_inference.h"

#include <algorithm>
#include <cmath>

namespace wgqa {
namespace {

// Rows of logits made at a time when only the loss is wanted: bounds memory for large vocabularies.
constexpr std::int64_t kLossRows = 256;

// Norm weights and bias tables are read as float32.
Parameter asFloat32(const Parameter& parameter) {
  Parameter copy = parameter;
  if (copy.dtype() != DType::float32) copy.makeWritable();
  return copy;
}

}  // namespace

T5Inference::T5Inference(T5Model& model)
    : model_(model),
      config_(model.config()),
      ops_(model.ops()),
      dtype_(model.computeDtype()),
      embedding_(*model.bound().embedding),
      encoder_(packStack(false, model.bound().encoder)),
      decoder_(packStack(true, model.bound().decoder)),
      head_(pack(*model.bound().head)) {}

// ---------------------------------------------------------------------------- packing

T5Inference::PackedProjection T5Inference::pack(const Parameter& weight) {
  return {Buffer(), ops_.pack(weight.view(), dtype_)};
}

T5Inference::PackedProjection T5Inference::packMerged(AttentionModule module, const Parameter& base,
                                                      const Parameter& mergeWeight) {
  const std::int64_t rows = config_.module(module).kvHeads * config_.dKv;
  Buffer memory(static_cast<std::size_t>(rows * config_.dModel) * sizeof(float));
  const TensorView merged(memory.as<float>(), DType::float32, {rows, config_.dModel});
  mergeProjection(model_, module, base, mergeWeight, merged);
  return {std::move(memory), ops_.pack(merged, dtype_)};
}

T5Inference::PackedAttention T5Inference::packAttention(AttentionModule module,
                                                        const AttentionParameters& parameters) {
  PackedAttention packed;
  packed.norm = asFloat32(*parameters.norm);
  packed.q = pack(*parameters.q);
  packed.o = pack(*parameters.o);
  if (config_.module(module).merged) {
    packed.k = packMerged(module, *parameters.k, *parameters.kMergeWeight);
    packed.v = packMerged(module, *parameters.v, *parameters.vMergeWeight);
  } else {
    packed.k = pack(*parameters.k);
    packed.v = pack(*parameters.v);
  }
  packed.kvHeadOf = model_.kvHeadOf(module);
  packed.kvHeads = config_.module(module).kvHeads;
  return packed;
}

T5Inference::PackedFeedForward T5Inference::packFeedForward(
    const FeedForwardParameters& parameters) {
  PackedFeedForward packed;
  packed.norm = asFloat32(*parameters.norm);
  packed.gate = pack(*parameters.gate);
  if (parameters.linear != nullptr) packed.linear = pack(*parameters.linear);
  packed.out = pack(*parameters.out);
  return packed;
}

T5Inference::PackedStack T5Inference::packStack(bool decoder, const StackParameters& parameters) {
  PackedStack packed;
  for (const BlockParameters& block : parameters.blocks) {
    PackedBlock& added = packed.blocks.emplace_back();
    added.self = packAttention(
        decoder ? AttentionModule::decoderSelf : AttentionModule::encoderSelf, block.self);
    if (decoder) added.cross = packAttention(AttentionModule::decoderCross, block.cross);
    added.feedForward = packFeedForward(block.feedForward);
  }
  packed.relativeBias = asFloat32(*parameters.relativeBias);
  packed.finalNorm = asFloat32(*parameters.finalNorm);
  return packed;
}

std::int64_t T5Inference::bytes() const {
  std::int64_t total = head_.weight->bytes;
  for (const PackedStack* stack : {&encoder_, &decoder_}) {
    for (const PackedBlock& block : stack->blocks) {
      for (const PackedProjection* projection :
           {&block.self.q, &block.self.k, &block.self.v, &block.self.o, &block.cross.q,
            &block.cross.k, &block.cross.v, &block.cross.o, &block.feedForward.gate,
            &block.feedForward.linear, &block.feedForward.out}) {
        if (projection->weight) total += projection->weight->bytes;
      }
    }
  }
  return total + static_cast<std::int64_t>(arena_.bytes());
}

// ---------------------------------------------------------------------------- building blocks

TensorView T5Inference::embed(std::span<const std::int32_t> ids) {
  const TensorView hidden = arena_.floats({static_cast<std::int64_t>(ids.size()), config_.dModel});
  ops_.embedding({ids, embedding_.view(), hidden});
  return hidden;
}

TensorView T5Inference::normalise(const Parameter& weight, const ConstTensorView& hidden) {
  RmsNorm norm;
  norm.x = hidden;
  norm.weight = weight.view();
  norm.epsilon = config_.layerNormEpsilon;
  norm.out = arena_.make(dtype_, {hidden.shape[0], hidden.shape[1]});
  ops_.rmsNorm(norm);
  return norm.out;
}

TensorView T5Inference::project(const PackedProjection& weight, const ConstTensorView& x) {
  const TensorView out = arena_.floats({x.shape[0], weight.weight->outFeatures});
  ops_.linear({x, weight.weight.get(), out});
  return out;
}

void T5Inference::addProjection(const PackedProjection& weight, const ConstTensorView& x,
                                const TensorView& hidden) {
  Linear linear{x, weight.weight.get(), hidden};
  linear.beta = 1.0f;
  ops_.linear(linear);
}

void T5Inference::feedForward(const PackedFeedForward& block, const TensorView& hidden) {
  const ArenaScope scope(arena_);
  const TensorView normed = normalise(block.norm, hidden);
  GatedActivation activation;
  activation.activation = config_.activation;
  activation.gate = project(block.gate, normed);
  if (block.linear.weight) activation.linear = project(block.linear, normed);
  activation.out = arena_.make(dtype_, {hidden.shape[0], config_.dFf});
  ops_.gatedActivation(activation);
  addProjection(block.out, activation.out, hidden);
}

T5Inference::KeyValue T5Inference::keyValue(const PackedAttention& attention,
                                            const ConstTensorView& x) {
  return {columnsAsHeads(project(attention.k, x), attention.kvHeads),
          columnsAsHeads(project(attention.v, x), attention.kvHeads)};
}

void T5Inference::wholeAttention(const PackedAttention& attention, const AttentionShape& shape,
                                 const ConstTensorView& queryInput, const KeyValue& keyValue,
                                 const TensorView& hidden) {
  AttentionPrefill prefill;
  prefill.shape = shape;
  prefill.shape.kvHeadOf = attention.kvHeadOf;
  prefill.q = columnsAsHeads(project(attention.q, queryInput), config_.heads);
  prefill.k = keyValue.k;
  prefill.v = keyValue.v;
  const TensorView out = arena_.make(dtype_, {hidden.shape[0], config_.innerDim()});
  prefill.out = columnsAsHeads(out, config_.heads);
  ops_.attentionPrefill(prefill);
  addProjection(attention.o, out, hidden);
}

void T5Inference::cachedAttention(const PackedAttention& attention, const PagedKv& cache,
                                  const RelativeBias& bias, const ConstTensorView& queryInput,
                                  const TensorView& hidden) {
  AttentionDecode decode;
  decode.cache = cache;
  decode.kvHeadOf = attention.kvHeadOf;
  decode.bias = bias;
  decode.q = columnsAsHeads(project(attention.q, queryInput), config_.heads);
  const TensorView out = arena_.make(dtype_, {hidden.shape[0], config_.innerDim()});
  decode.out = columnsAsHeads(out, config_.heads);
  ops_.attentionDecode(decode);
  addProjection(attention.o, out, hidden);
}

RelativeBias T5Inference::biasOf(const PackedStack& stack, bool bidirectional) const {
  return {stack.relativeBias.view(), bidirectional, config_.relativeMaxDistance};
}

ConstTensorView T5Inference::toCompute(const ConstTensorView& x) {
  if (dtype_ == x.dtype) return x;
  const TensorView out = arena_.make(dtype_, {x.shape[0], x.shape[1]});
  ops_.cast({x, out});
  return out;
}

void T5Inference::vocabulary(const ConstTensorView& normed, const TensorView& logits) {
  Linear linear{normed, head_.weight.get(), logits};
  if (config_.scaleDecoderOutputs) {
    linear.alpha = 1.0f / std::sqrt(static_cast<float>(config_.dModel));
  }
  ops_.linear(linear);
}

// ---------------------------------------------------------------------------- encoder

void T5Inference::encode(std::span<const std::int32_t> ids, const RaggedOffsets& offsets,
                         const TensorView& states) {
  arena_.reset();
  encodeInto(ids, offsets, states, nullptr);
}

void T5Inference::encodeInto(std::span<const std::int32_t> ids, const RaggedOffsets& offsets,
                             const TensorView& states, const AbortFlag* abort) {
  const ArenaScope whole(arena_);
  const TensorView hidden = embed(ids);
  AttentionShape shape;
  shape.queries = offsets;
  shape.keys = offsets;
  shape.bias = biasOf(encoder_, true);
  for (const PackedBlock& block : encoder_.blocks) {
    throwIfAborted(abort);
    {
      const ArenaScope scope(arena_);
      const TensorView normed = normalise(block.self.norm, hidden);
      wholeAttention(block.self, shape, normed, keyValue(block.self, normed), hidden);
    }
    feedForward(block.feedForward, hidden);
  }
  RmsNorm norm;
  norm.x = hidden;
  norm.weight = encoder_.finalNorm.view();
  norm.epsilon = config_.layerNormEpsilon;
  norm.out = states;
  ops_.rmsNorm(norm);
}

// ---------------------------------------------------------------------------- teacher forcing

TensorView T5Inference::decodeWhole(const TeacherForcedBatch& batch, const ConstTensorView& states,
                                    const AbortFlag* abort) {
  const TensorView hidden = embed(batch.decoderIds);
  AttentionShape self;
  self.queries = batch.decoder;
  self.keys = batch.decoder;
  self.causal = true;
  self.bias = biasOf(decoder_, false);
  AttentionShape cross;
  cross.queries = batch.decoder;
  cross.keys = batch.encoder;
  for (const PackedBlock& block : decoder_.blocks) {
    throwIfAborted(abort);
    {
      const ArenaScope scope(arena_);
      const TensorView normed = normalise(block.self.norm, hidden);
      wholeAttention(block.self, self, normed, keyValue(block.self, normed), hidden);
    }
    {
      const ArenaScope scope(arena_);
      const TensorView normed = normalise(block.cross.norm, hidden);
      wholeAttention(block.cross, cross, normed, keyValue(block.cross, states), hidden);
    }
    feedForward(block.feedForward, hidden);
  }
  return normalise(decoder_.finalNorm, hidden);
}

TeacherForcedResult T5Inference::teacherForced(const TeacherForcedBatch& batch,
                                               const TensorView& logits,
                                               const TensorView& encoderStates,
                                               const AbortFlag* abort) {
  arena_.reset();
  const TensorView states = encoderStates.given()
                                ? encoderStates
                                : arena_.floats({batch.encoder.tokens(), config_.dModel});
  encodeInto(batch.encoderIds, batch.encoder, states, abort);
  const TensorView normed = decodeWhole(batch, toCompute(states), abort);

  TeacherForcedResult result;
  result.lossTokens = static_cast<std::int64_t>(batch.labels.size()) -
                      std::count(batch.labels.begin(), batch.labels.end(), kIgnoredLabel);
  const std::int64_t rows = normed.shape[0];
  for (std::int64_t begin = 0; begin < rows; begin += kLossRows) {
    if (!logits.given() && batch.labels.empty()) break;
    throwIfAborted(abort);
    const ArenaScope scope(arena_);
    const std::int64_t count = std::min(kLossRows, rows - begin);
    const TensorView chunk =
        logits.given() ? logits.rows(begin, count) : arena_.floats({count, config_.vocabSize});
    vocabulary(normed.rows(begin, count), chunk);
    if (batch.labels.empty()) continue;
    CrossEntropy loss;
    loss.logits = chunk;
    loss.labels = batch.labels.subspan(begin, count);
    loss.lossSum = &result.lossSum;
    ops_.crossEntropy(loss);
  }
  return result;
}

// ---------------------------------------------------------------------------- decoding

EncoderDecoder::CacheShape T5Inference::cacheShape() const {
  return {config_.decoderLayers, config_.module(AttentionModule::decoderSelf).kvHeads,
          config_.module(AttentionModule::decoderCross).kvHeads, config_.dKv};
}

void T5Inference::appendCross(const CrossAppend& append) {
  arena_.reset();
  const ConstTensorView states = toCompute(append.encoderStates);
  for (std::size_t layer = 0; layer < decoder_.blocks.size(); ++layer) {
    const ArenaScope scope(arena_);
    const KeyValue keyValues = keyValue(decoder_.blocks[layer].cross, states);
    const LayerCache& cache = append.cache[layer];
    ops_.kvAppend({keyValues.k, keyValues.v, append.slots, cache.keys, cache.values});
  }
}

void T5Inference::decodeStep(const DecodeStep& step) {
  arena_.reset();
  const std::int64_t bytesBefore = ops_.times().weightBytes;
  const TensorView hidden = embed(step.tokens);
  const RelativeBias bias = biasOf(decoder_, false);
  for (std::size_t layer = 0; layer < decoder_.blocks.size(); ++layer) {
    const PackedBlock& block = decoder_.blocks[layer];
    const LayerCache& self = step.selfCache[layer];
    const LayerCache& cross = step.crossCache[layer];
    {
      const ArenaScope scope(arena_);
      const TensorView normed = normalise(block.self.norm, hidden);
      const KeyValue keyValues = keyValue(block.self, normed);
      ops_.kvAppend({keyValues.k, keyValues.v, step.selfSlots, self.keys, self.values});
      const PagedKv cache{self.keys, self.values, step.self.blocks, step.self.offsets,
                          step.self.lengths};
      cachedAttention(block.self, cache, bias, normed, hidden);
    }
    {
      const ArenaScope scope(arena_);
      const TensorView normed = normalise(block.cross.norm, hidden);
      const PagedKv cache{cross.keys, cross.values, step.cross.blocks, step.cross.offsets,
                          step.cross.lengths};
      cachedAttention(block.cross, cache, RelativeBias{}, normed, hidden);
    }
    feedForward(block.feedForward, hidden);
  }
  vocabulary(normalise(decoder_.finalNorm, hidden), step.logits);
  weightBytesRead_ += ops_.times().weightBytes - bytesBefore;
}

}  // namespace wgqa
