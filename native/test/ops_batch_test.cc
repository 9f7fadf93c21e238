// Decoding one request gives the same tokens whatever else is in the batch: the CPU backend's
// products and paged attention promise it bit for bit (ops/cpu/linear.h, ops/cpu/attention.h).
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "ops/ops.h"
#include "test/harness.h"
#include "test/ops_attention_specs.h"
#include "test/ops_tensors.h"

namespace wgqa::test {
namespace {

std::vector<float> elements(const ConstTensorView& view) {
  return {view.as<float>(), view.as<float>() + view.elements()};
}

// Every row of a product, multiplied alone, against the same row of the whole batch.
void checkRowsOfLinear(Ops& ops, std::int64_t rows, std::int64_t inFeatures,
                       std::int64_t outFeatures, DType dtype) {
  CaseTensors tensors(1, ops);
  const auto x = tensors.input("x", {linearInput(dtype), {rows, inFeatures}}, normal());
  const auto weight = tensors.input("weight", float32Of({outFeatures, inFeatures}), normal());
  const auto packed = ops.pack(weight, dtype);
  const auto batch = tensors.output("batch", float32Of({rows, outFeatures}));
  const auto alone = tensors.output("alone", float32Of({rows, outFeatures}));
  ops.linear({.x = x, .weight = packed.get(), .out = batch});
  for (std::int64_t row = 0; row < rows; ++row) {
    ops.linear({.x = x.rows(row, 1), .weight = packed.get(), .out = alone.rows(row, 1)});
  }
  if (elements(batch) == elements(alone)) return;
  fail(std::to_string(rows) + " x " + std::to_string(inFeatures) + " to " +
       std::to_string(outFeatures) + " " + std::string(dtypeName(dtype)) +
       ": a row depends on its batch");
}

// Products of the same rows, one by one, against the same in one call.
void checkProductsTogether(Ops& ops, std::int64_t rows, std::int64_t inFeatures,
                           const std::vector<std::int64_t>& outFeatures, DType dtype) {
  CaseTensors tensors(4, ops);
  const auto x = tensors.input("x", {linearInput(dtype), {rows, inFeatures}}, normal());
  std::vector<std::unique_ptr<PackedWeight>> weights;
  std::vector<Linear> products;
  std::vector<TensorView> alone;
  for (const std::int64_t features : outFeatures) {
    const std::string name = std::to_string(weights.size());
    weights.push_back(ops.pack(
        tensors.input("weight " + name, float32Of({features, inFeatures}), normal()), dtype));
    const TensorSpec result = float32Of({rows, features});
    products.push_back({x, weights.back().get(), tensors.output("together " + name, result), 0.5f});
    Linear one = products.back();
    one.out = alone.emplace_back(tensors.output("alone " + name, result));
    ops.linear(one);
  }
  ops.linear(products);
  for (std::size_t i = 0; i < products.size(); ++i) {
    CHECK(elements(products[i].out) == elements(alone[i]));
  }
}

// Every sequence of a paged batch, decoded alone, against the same row of the whole batch. Those of
// one length behind each other share their blocks, as beams do.
void checkSequencesOfDecode(Ops& ops, const std::vector<std::int32_t>& lengths, DType cache) {
  constexpr std::int32_t kHeads = 4, kKvHeads = 2, kHeadDim = 24, kBlockTokens = 16;
  const HeadMap map = equalGroups(kHeads, kKvHeads);
  std::vector<std::int32_t> offsets = {0};
  std::vector<std::int32_t> table;
  std::int32_t blocks = 0;
  std::int32_t last = 0;
  for (const std::int32_t length : lengths) {
    const std::int32_t held = (length + kBlockTokens - 1) / kBlockTokens;
    if (length != last) blocks += held;
    for (std::int32_t i = 0; i < held; ++i) table.push_back(blocks - held + i);
    last = length;
    offsets.push_back(static_cast<std::int32_t>(table.size()));
  }
  const auto sequences = static_cast<std::int64_t>(lengths.size());
  CaseTensors tensors(2, ops);
  const TensorSpec keys{cache, {blocks, kKvHeads, kHeadDim, kBlockTokens}};
  const TensorSpec values{cache, {blocks, kKvHeads, kBlockTokens, kHeadDim}};
  const TensorSpec rows = float32Of({sequences, kHeads, kHeadDim});
  const bool isQuantised = cache == DType::int8;
  PagedKv all{.keys = tensors.input("keys", keys, isQuantised ? integers(127) : normal(0.5)),
              .values = tensors.input("values", values, isQuantised ? integers(127) : normal()),
              .blockTable = table,
              .tableOffsets = offsets,
              .lengths = lengths};
  if (isQuantised) {
    const TensorSpec scales = float32Of({blocks, kKvHeads, kBlockTokens});
    all.keyScales = tensors.input("key scales", scales, normal(0.01));
    all.valueScales = tensors.input("value scales", scales, normal(0.01));
  }
  AttentionDecode p{.cache = all,
                    .kvHeadOf = map.kvHeadOf,
                    .bias = makeBias(tensors, {32, 128, false}, kHeads),
                    .q = tensors.input("q", rows, normal(0.5)),
                    .out = tensors.output("batch", rows)};
  const auto batch = p;
  const auto alone = tensors.output("alone", rows);
  ops.attentionDecode(batch);
  for (std::int64_t sequence = 0; sequence < sequences; ++sequence) {
    const std::vector<std::int32_t> ownOffsets = {0, offsets[sequence + 1] - offsets[sequence]};
    p.cache.blockTable = std::span(table).subspan(offsets[sequence], ownOffsets[1]);
    p.cache.tableOffsets = ownOffsets;
    p.cache.lengths = std::span(lengths).subspan(sequence, 1);
    p.q = batch.q.rows(sequence, 1);
    p.out = alone.rows(sequence, 1);
    ops.attentionDecode(p);
  }
  CHECK(elements(batch.out) == elements(alone));
}

// Queries of ragged self-attention, some at a time, against the same queries of the whole batch.
void checkQueriesOfPrefill(Ops& ops, const std::vector<SequenceSpec>& sequences, const HeadMap& map,
                           DType dtype, bool causal) {
  constexpr std::int64_t kHeadDim = 24;
  CaseTensors tensors(3, ops);
  const std::vector<std::int32_t> offsets = keyOffsets(sequences);
  const TensorSpec keySpec = float32Of({offsets.back(), map.kvHeads(), kHeadDim});
  const std::vector<std::int64_t> rows = {offsets.back(), map.heads(), kHeadDim};
  AttentionPrefill whole;
  whole.shape.queries = {offsets};
  whole.shape.keys = {offsets};
  whole.shape.kvHeadOf = map.kvHeadOf;
  whole.shape.causal = causal;
  whole.shape.bias = makeBias(tensors, {32, 128, !causal}, map.heads());
  whole.q = tensors.input("q", float32Of(rows), normal(0.5));
  whole.k = tensors.input("k", keySpec, normal(0.5));
  whole.v = tensors.input("v", keySpec, normal());
  whole.out = tensors.output("whole", {dtype, rows});
  ops.attentionPrefill(whole);
  const TensorView parts = tensors.output("parts", {dtype, rows});
  for (std::size_t sequence = 0; sequence < sequences.size(); ++sequence) {
    const std::int32_t keys = sequences[sequence].keys;
    for (std::int32_t first = 0, queries = 1; first < keys; first += queries, queries += 5) {
      queries = std::min(queries, keys - first);
      const std::vector<std::int32_t> queryOffset = {0, queries};
      const std::vector<std::int32_t> keyOffset = {0, keys};
      AttentionPrefill part = whole;
      part.shape.queries = {queryOffset};
      part.shape.keys = {keyOffset};
      part.shape.firstPositions = {&first, 1};
      part.q = whole.q.rows(offsets[sequence] + first, queries);
      part.k = whole.k.rows(offsets[sequence], keys);
      part.v = whole.v.rows(offsets[sequence], keys);
      part.out = parts.rows(offsets[sequence] + first, queries);
      ops.attentionPrefill(part);
    }
  }
  CHECK(std::memcmp(whole.out.data, parts.data, static_cast<std::size_t>(parts.bytes())) == 0);
}

}  // namespace

WGQA_TEST(prefillQueriesDoNotDependOnTheirBatch) {
  const auto sequences = selfSequences({1, 70, 2, 200, 17});
  for (const auto& ops : {makeCpuOps(), makeReferenceOps()}) {
    for (const DType dtype : {DType::float32, DType::bfloat16}) {
      checkQueriesOfPrefill(*ops, sequences, equalGroups(4, 4), dtype, false);
      checkQueriesOfPrefill(*ops, sequences, equalGroups(4, 2), dtype, false);
      checkQueriesOfPrefill(*ops, sequences, {{0, 0, 0, 1, 1}}, dtype, true);
    }
  }
}

WGQA_TEST(prefillBackwardTakesWholeSequencesOnly) {
  const std::vector<std::int32_t> offsets = {0, 2};
  const std::vector<std::int32_t> first = {0};
  AttentionPrefillBackward p;
  p.shape.queries = {offsets};
  p.shape.keys = {offsets};
  p.shape.firstPositions = first;
  CHECK_THROWS(ErrorCode::internal, makeCpuOps()->attentionPrefillBackward(p));
  CHECK_THROWS(ErrorCode::internal, makeReferenceOps()->attentionPrefillBackward(p));
}

WGQA_TEST(cpuLinearRowsDoNotDependOnTheirBatch) {
  const auto ops = makeCpuOps();
  for (const int threads : {1, 2}) {
    setThreadCount(threads);
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
      if (const auto reason = ops->whyUnsupported({.dtype = dtype})) {
        note("declined " + std::string(dtypeName(dtype)) + ": " + *reason);
        continue;
      }
      checkRowsOfLinear(*ops, 2, 7, 5, dtype);
      checkRowsOfLinear(*ops, 9, 64, 97, dtype);
      checkRowsOfLinear(*ops, 33, 130, 40, dtype);
      checkRowsOfLinear(*ops, 5, 512, 384, dtype);
      checkRowsOfLinear(*ops, 300, 96, 70, dtype);
      checkRowsOfLinear(*ops, 4, 2100, 200, dtype);
    }
  }
  setThreadCount(0);
}

WGQA_TEST(productsOfTheSameRowsAreIndependent) {
  for (const auto& ops : {makeCpuOps(), makeReferenceOps()}) {
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
      if (const auto reason = ops->whyUnsupported({.dtype = dtype})) {
        note("declined " + std::string(dtypeName(dtype)) + ": " + *reason);
        continue;
      }
      checkProductsTogether(*ops, 1, 40, {24}, dtype);
      checkProductsTogether(*ops, 3, 72, {1, 97, 16}, dtype);
      checkProductsTogether(*ops, 1, 1024, {512, 300}, dtype);
    }
  }
}

WGQA_TEST(cpuDecodeSequencesDoNotDependOnTheirBatch) {
  const auto ops = makeCpuOps();
  for (const int threads : {1, 2}) {
    setThreadCount(threads);
    for (const DType cache : {DType::float32, DType::bfloat16, DType::int8}) {
      checkSequencesOfDecode(*ops, {1, 2, 17, 17, 17, 130, 64, 1000, 1000, 65}, cache);
    }
  }
  setThreadCount(0);
}

}  // namespace wgqa::test
