#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/reference/functions.h"
#include "ops/reference/reference_ops.h"

namespace wgqa::reference {
namespace {

// One query token seen by one head.
struct Row {
  std::int64_t token = 0;  // of all query tokens
  std::int64_t head = 0;
  std::int64_t kvHead = 0;
  std::int64_t position = 0;  // in its sequence, counted as the keys are
  std::int64_t firstKey = 0;  // key token its sequence starts at
  std::int64_t keys = 0;      // keys that it sees, from firstKey on
};

template <typename Visit>
void forEachRow(const AttentionInputs& p, const Visit& visit) {
  const AttentionShape& shape = p.shape;
  for (std::int64_t sequence = 0; sequence < shape.queries.sequences(); ++sequence) {
    const std::int64_t queries = shape.queries.length(sequence);
    const std::int64_t keys = shape.keys.length(sequence);
    for (std::int64_t query = 0; query < queries; ++query) {
      Row row;
      row.token = shape.queries.offsets[sequence] + query;
      row.position = shape.firstPosition(sequence) + query;
      row.firstKey = shape.keys.offsets[sequence];
      row.keys = shape.causal ? std::clamp<std::int64_t>(row.position + 1, 0, keys) : keys;
      for (row.head = 0; row.head < p.heads(); ++row.head) {
        row.kvHead = shape.kvHeadOf[row.head];
        visit(row);
      }
    }
  }
}

std::int64_t queryOffset(const AttentionInputs& p, const Row& row) {
  return (row.token * p.heads() + row.head) * p.headDim;
}

std::int64_t keyOffset(const AttentionInputs& p, const Row& row, std::int64_t key) {
  return ((row.firstKey + key) * p.kvHeads + row.kvHead) * p.headDim;
}

std::int64_t biasOffset(const AttentionInputs& p, const Row& row, std::int64_t key) {
  const RelativeBias& bias = p.shape.bias;
  return relativeBucket(key - row.position, bias.bidirectional, p.buckets, bias.maxDistance) *
             p.heads() +
         row.head;
}

double dot(const double* a, const double* b, std::int64_t count) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

struct Probabilities {
  Wide ofKey;  // [keys that the row sees]
  double logSumExp = -std::numeric_limits<double>::infinity();
};

Probabilities softmaxOfRow(const AttentionInputs& p, const Row& row) {
  Probabilities result;
  if (row.keys == 0) return result;
  Wide& values = result.ofKey;
  values.resize(row.keys);
  for (std::int64_t key = 0; key < row.keys; ++key) {
    values[key] =
        p.shape.scale * dot(&p.q[queryOffset(p, row)], &p.k[keyOffset(p, row, key)], p.headDim);
    if (!p.bias.empty()) values[key] += p.bias[biasOffset(p, row, key)];
  }
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0.0;
  for (const double score : values) sum += std::exp(score - largest);
  result.logSumExp = largest + std::log(sum);
  for (double& value : values) value = std::exp(value - largest) / sum;
  return result;
}

double factorOfKey(const AttentionInputs& p, const Row& row, std::int64_t key) {
  return dropoutFactor(p.shape.dropout, row.token * p.heads() + row.head, key);
}

// With P the probabilities, D dropout's factors and G = gradOut v^T * D: the scores' gradient is
// P * (G - sum over keys of P * G).
Wide gradientOfScores(const AttentionInputs& p, const Row& row, const Wide& probabilities,
                      const Wide& gradOut) {
  Wide grads(row.keys);
  double mean = 0.0;
  for (std::int64_t key = 0; key < row.keys; ++key) {
    grads[key] = factorOfKey(p, row, key) *
                 dot(&gradOut[queryOffset(p, row)], &p.v[keyOffset(p, row, key)], p.headDim);
    mean += probabilities[key] * grads[key];
  }
  for (std::int64_t key = 0; key < row.keys; ++key) {
    grads[key] = probabilities[key] * (grads[key] - mean);
  }
  return grads;
}

void addGradientsOfRow(const AttentionInputs& p, const Row& row, const Wide& gradOut,
                       AttentionGradients& result) {
  const Wide probabilities = softmaxOfRow(p, row).ofKey;
  const Wide gradScores = gradientOfScores(p, row, probabilities, gradOut);
  const std::int64_t query = queryOffset(p, row);
  for (std::int64_t key = 0; key < row.keys; ++key) {
    const std::int64_t at = keyOffset(p, row, key);
    const double gradDot = p.shape.scale * gradScores[key];
    const double kept = probabilities[key] * factorOfKey(p, row, key);
    for (std::int64_t i = 0; i < p.headDim; ++i) {
      result.q[query + i] += gradDot * p.k[at + i];
      result.k[at + i] += gradDot * p.q[query + i];
      result.v[at + i] += kept * gradOut[query + i];
    }
    if (!p.bias.empty()) result.bias[biasOffset(p, row, key)] += gradScores[key];
  }
}

}  // namespace

Attended attention(const AttentionInputs& p) {
  Attended result{Wide(p.q.size()), Wide(p.q.size() / p.headDim)};
  forEachRow(p, [&](const Row& row) {
    const Probabilities probabilities = softmaxOfRow(p, row);
    const std::int64_t out = queryOffset(p, row);
    result.logSumExp[out / p.headDim] = probabilities.logSumExp;
    for (std::int64_t key = 0; key < row.keys; ++key) {
      const double kept = probabilities.ofKey[key] * factorOfKey(p, row, key);
      for (std::int64_t i = 0; i < p.headDim; ++i) {
        result.out[out + i] += kept * p.v[keyOffset(p, row, key) + i];
      }
    }
  });
  return result;
}

AttentionGradients attentionBackward(const AttentionInputs& p, const Wide& gradOut) {
  AttentionGradients result{Wide(p.q.size()), Wide(p.k.size()), Wide(p.v.size()),
                            Wide(p.bias.size())};
  forEachRow(p, [&](const Row& row) { addGradientsOfRow(p, row, gradOut, result); });
  return result;
}

namespace {

AttentionInputs loadInputs(const AttentionShape& shape, const ConstTensorView& q,
                           const ConstTensorView& k, const ConstTensorView& v) {
  return {shape,
          k.shape[1],
          k.shape[2],
          load(q),
          load(k),
          load(v),
          loadIfGiven(shape.bias.table),
          static_cast<std::int32_t>(shape.bias.table.shape[0])};
}

// The keys (or values) of all sequences, one sequence after another: [keyTokens, kvHeads, headDim].
// Blocks as [blocks, kvHeads, blockTokens, headDim], with any strides.
Wide gather(const PagedKv& cache, const ConstTensorView& blocks, const ConstTensorView& scales) {
  const std::int64_t kvHeads = blocks.shape[1];
  const std::int64_t blockTokens = blocks.shape[2];
  const std::int64_t headDim = blocks.shape[3];
  Wide values;
  for (std::size_t sequence = 0; sequence < cache.lengths.size(); ++sequence) {
    const std::int32_t* table = &cache.blockTable[cache.tableOffsets[sequence]];
    for (std::int64_t key = 0; key < cache.lengths[sequence]; ++key) {
      const std::int64_t block = table[key / blockTokens];
      for (std::int64_t head = 0; head < kvHeads; ++head) {
        const std::int64_t row = block * blocks.strides[0] + head * blocks.strides[1] +
                                 key % blockTokens * blocks.strides[2];
        const double scale =
            scales.given()
                ? readElement(scales, block * scales.strides[0] + head * scales.strides[1] +
                                          key % blockTokens * scales.strides[2])
                : 1.0;
        for (std::int64_t i = 0; i < headDim; ++i) {
          values.push_back(scale * readElement(blocks, row + i * blocks.strides[3]));
        }
      }
    }
  }
  return values;
}

}  // namespace

void ReferenceOps::attentionPrefill(const AttentionPrefill& p) {
  const ScopeTimer timer(times_.attentionSeconds);
  const Attended result = attention(loadInputs(p.shape, p.q, p.k, p.v));
  store(result.out, p.out);
  storeIfGiven(result.logSumExp, p.logSumExp);
}

// Recomputes the softmax rather than trusting p.out and p.logSumExp: a second path to the gradient.
void ReferenceOps::attentionPrefillBackward(const AttentionPrefillBackward& p) {
  const ScopeTimer timer(times_.attentionSeconds);
  require(p.shape.firstPositions.empty(), "attention's backward pass takes whole sequences");
  const AttentionGradients result =
      attentionBackward(loadInputs(p.shape, p.q, p.k, p.v), load(p.gradOut));
  store(result.q, p.gradQ);
  store(result.k, p.gradK);
  store(result.v, p.gradV);
  if (p.gradBiasTable.given()) accumulate(result.bias, p.gradBiasTable);
}

void ReferenceOps::attentionDecode(const AttentionDecode& p) {
  const ScopeTimer timer(times_.attentionSeconds);
  std::vector<std::int32_t> queryOffsets = {0};
  std::vector<std::int32_t> keyOffsets = {0};
  for (const std::int32_t length : p.cache.lengths) {
    queryOffsets.push_back(queryOffsets.back() + 1);
    keyOffsets.push_back(keyOffsets.back() + length);
  }
  AttentionShape shape;
  shape.queries = {queryOffsets};
  shape.keys = {keyOffsets};
  shape.kvHeadOf = p.kvHeadOf;
  shape.scale = p.scale;
  shape.bias = p.bias;
  const AttentionInputs inputs = {shape,
                                  p.cache.keys.shape[1],
                                  p.cache.values.shape[3],
                                  load(p.q),
                                  gather(p.cache, p.cache.keys.transposed(), p.cache.keyScales),
                                  gather(p.cache, p.cache.values, p.cache.valueScales),
                                  loadIfGiven(p.bias.table),
                                  static_cast<std::int32_t>(p.bias.table.shape[0])};
  store(attention(inputs).out, p.out);
}

}  // namespace wgqa::reference
