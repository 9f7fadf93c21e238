// What a decode engine does with a model, without an engine: cache memory, encodings, single steps.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/t5_model.h"
#include "ops/tensor_view.h"

namespace wgqa::test {

using Tokens = std::vector<std::int32_t>;

/// A backend, by name: for tests that run on each.
struct ModelBackend {
  std::string name;
  std::unique_ptr<Ops> (*make)();
};
inline const std::vector<ModelBackend> kBackends = {{"cpu", makeCpuOps},
                                                    {"reference", makeReferenceOps}};

/// A kind of small model: architecture, K/V heads and element type.
struct ModelKind {
  bool gated = false;
  std::int64_t kvHeads = 4;  // of all modules; 4 is multi-head
  bool merged = false;       // merge weights, not folded
  DType dtype = DType::float32;
};
std::string nameOf(const ModelKind& kind);
std::unique_ptr<T5Model> modelOf(const ModelKind& kind, const ModelBackend& backend);
/// Both architectures, multi-head, grouped and with merge weights, in each floating type.
std::vector<ModelKind> modelKinds();

/// Random token ids of the small models, the same for equal arguments.
Tokens someTokens(std::int64_t count, std::int32_t seed);

/// Blocks of K/V for some sequences: in no order, of NaN until written.
class PagedMemory {
 public:
  /// `kvHeads`: of each layer.
  PagedMemory(std::span<const std::int64_t> kvHeads, std::int64_t headDim, DType dtype,
              const std::vector<std::int64_t>& lengths);

  std::span<const LayerCache> cache() const { return cache_; }
  /// Where the K/V of a token go.
  std::int64_t slot(std::size_t sequence, std::int64_t position) const;
  const Tokens& blocks(std::size_t sequence) const { return blocks_[sequence]; }
  /// K and V of the tokens of a sequence in all layers, bit for bit.
  std::vector<std::byte> contents(std::size_t sequence) const;

 private:
  std::vector<std::int64_t> lengths_;
  std::vector<Tokens> blocks_;
  std::vector<Buffer> memory_;
  std::vector<LayerCache> cache_;
};

/// Memory for the cross-attention of these sources, in `dtype`.
PagedMemory crossMemory(const EncoderDecoder& model, const std::vector<Tokens>& sources,
                        DType dtype);
/// Memory for sequences of these many tokens.
PagedMemory selfMemory(const EncoderDecoder& model, const std::vector<std::int64_t>& lengths,
                       DType dtype);

/// The batch of the sources named by `order`, in that order.
SourceBatch batchOf(const std::vector<Tokens>& sources, const std::vector<std::size_t>& order,
                    const PagedMemory& memory);
/// Encodes them in slices of `work`.
void encode(EncoderDecoder& model, const std::vector<Tokens>& sources,
            const std::vector<std::size_t>& order, const PagedMemory& memory, std::int64_t work);

/// A row of a step: a token of a sequence, fed at a position.
struct StepRow {
  std::size_t sequence = 0;
  std::int32_t position = 0;
  std::int32_t token = 0;
};
/// [logitRows, vocab] logits. Sequence i attends to source i.
std::vector<float> step(EncoderDecoder& model, const std::vector<StepRow>& rows,
                        const Tokens& logitRows, const PagedMemory& self, const PagedMemory& cross,
                        const std::vector<Tokens>& sources);
/// 0, 1, ..., count - 1.
Tokens allRows(std::size_t count);

}  // namespace wgqa::test
