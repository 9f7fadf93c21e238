#include "model_decode_fixture.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "model/t5_convert.h"
#include "model_fixture.h"

namespace wgqa::test {
namespace {

constexpr std::int64_t kBlockTokens = 4;

// Bytes that are NaN in every element type.
constexpr int kNanByte = 0xff;

// Block ids and their ends, as BlockTables wants them.
struct Tables {
  Tokens blocks;
  Tokens offsets = {0};
  Tokens lengths;

  void add(const Tokens& more, std::int64_t length) {
    blocks.insert(blocks.end(), more.begin(), more.end());
    offsets.push_back(static_cast<std::int32_t>(blocks.size()));
    lengths.push_back(static_cast<std::int32_t>(length));
  }
  BlockTables view() const { return {blocks, offsets, lengths}; }
};

}  // namespace

std::string nameOf(const ModelKind& kind) {
  return std::string(kind.gated ? "gated" : "plain") + ", " + std::to_string(kind.kvHeads) +
         " K/V heads" + (kind.merged ? " merged" : "") + ", " + std::string(dtypeName(kind.dtype));
}

std::unique_ptr<T5Model> modelOf(const ModelKind& kind, const ModelBackend& backend) {
  auto model = smallModel(kind.gated, backend.make(), kind.dtype);
  if (kind.kvHeads == model->config().heads) return model;
  ConvertOptions options;
  options.kvHeads = kind.kvHeads;
  options.init = MergeInit::random;
  options.modules = {AttentionModule::encoderSelf, AttentionModule::decoderSelf,
                     AttentionModule::decoderCross};
  model = convertModel(*model, options, backend.make());
  return kind.merged ? std::move(model) : foldModel(*model, backend.make());
}

std::vector<ModelKind> modelKinds() {
  std::vector<ModelKind> kinds;
  for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16}) {
    kinds.push_back({false, 4, false, dtype});
    kinds.push_back({true, 4, false, dtype});
    kinds.push_back({false, 1, true, dtype});
    kinds.push_back({true, 2, false, dtype});
  }
  return kinds;
}

Tokens someTokens(std::int64_t count, std::int32_t seed) {
  Tokens tokens;
  std::int32_t id = seed + 2;
  for (std::int64_t i = 0; i < count; ++i) tokens.push_back(id = (id * 31 + 17) % 53);
  return tokens;
}

PagedMemory::PagedMemory(std::span<const std::int64_t> kvHeads, std::int64_t headDim, DType dtype,
                         const std::vector<std::int64_t>& lengths)
    : lengths_(lengths) {
  std::int32_t count = 0;
  for (const std::int64_t length : lengths) {
    Tokens& blocks = blocks_.emplace_back();
    for (std::int64_t token = 0; token < length; token += kBlockTokens) blocks.push_back(count++);
  }
  for (Tokens& blocks : blocks_) {
    for (std::int32_t& block : blocks) block = count - 1 - block;
  }
  const auto half = [&](std::int64_t heads, std::int64_t rows, std::int64_t columns) {
    TensorView view(nullptr, dtype, {count, heads, rows, columns});
    Buffer& memory = memory_.emplace_back(static_cast<std::size_t>(view.bytes()));
    std::memset(memory.as<void>(), kNanByte, memory.bytes());
    view.data = memory.as<void>();
    return view;
  };
  for (const std::int64_t heads : kvHeads) {
    cache_.push_back({half(heads, headDim, kBlockTokens), half(heads, kBlockTokens, headDim)});
  }
}

std::int64_t PagedMemory::slot(std::size_t sequence, std::int64_t position) const {
  return blocks_[sequence][static_cast<std::size_t>(position / kBlockTokens)] * kBlockTokens +
         position % kBlockTokens;
}

std::vector<std::byte> PagedMemory::contents(std::size_t sequence) const {
  std::vector<std::byte> result;
  for (const LayerCache& layer : cache_) {
    for (const TensorView& half : {layer.keys.transposed(), layer.values}) {
      const auto elementBytes = static_cast<std::int64_t>(bytesOf(half.dtype));
      for (std::int64_t token = 0; token < lengths_[sequence]; ++token) {
        const std::int64_t at = slot(sequence, token);
        for (std::int64_t head = 0; head < half.shape[1]; ++head) {
          const std::int64_t row = at / kBlockTokens * half.strides[0] + head * half.strides[1] +
                                   at % kBlockTokens * half.strides[2];
          for (std::int64_t i = 0; i < half.shape[3]; ++i) {
            const std::byte* bytes =
                half.as<std::byte>() + (row + i * half.strides[3]) * elementBytes;
            result.insert(result.end(), bytes, bytes + elementBytes);
          }
        }
      }
    }
  }
  return result;
}

PagedMemory crossMemory(const EncoderDecoder& model, const std::vector<Tokens>& sources,
                        DType dtype) {
  std::vector<std::int64_t> lengths;
  for (const Tokens& source : sources) lengths.push_back(static_cast<std::int64_t>(source.size()));
  const EncoderDecoder::CacheShape shape = model.cacheShape();
  return {shape.crossKvHeads, shape.headDim, dtype, lengths};
}

PagedMemory selfMemory(const EncoderDecoder& model, const std::vector<std::int64_t>& lengths,
                       DType dtype) {
  const EncoderDecoder::CacheShape shape = model.cacheShape();
  return {shape.selfKvHeads, shape.headDim, dtype, lengths};
}

SourceBatch batchOf(const std::vector<Tokens>& sources, const std::vector<std::size_t>& order,
                    const PagedMemory& memory) {
  SourceBatch batch;
  batch.offsets = {0};
  batch.cache = memory.cache();
  for (const std::size_t source : order) {
    const Tokens& ids = sources[source];
    for (std::size_t i = 0; i < ids.size(); ++i) {
      batch.ids.push_back(ids[i]);
      batch.slots.push_back(memory.slot(source, static_cast<std::int64_t>(i)));
    }
    batch.offsets.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
  return batch;
}

void encode(EncoderDecoder& model, const std::vector<Tokens>& sources,
            const std::vector<std::size_t>& order, const PagedMemory& memory, std::int64_t work) {
  const auto encoding = model.startEncoding(batchOf(sources, order, memory));
  while (encoding->workLeft() > 0) encoding->advance(work);
}

std::vector<float> step(EncoderDecoder& model, const std::vector<StepRow>& rows,
                        const Tokens& logitRows, const PagedMemory& self, const PagedMemory& cross,
                        const std::vector<Tokens>& sources) {
  Tokens tokens;
  std::vector<std::int64_t> slots;
  Tables selfTables, crossTables;
  for (const StepRow& row : rows) {
    tokens.push_back(row.token);
    slots.push_back(self.slot(row.sequence, row.position));
    selfTables.add(self.blocks(row.sequence), row.position + 1);
    crossTables.add(cross.blocks(row.sequence),
                    static_cast<std::int64_t>(sources[row.sequence].size()));
  }
  const auto count = static_cast<std::int64_t>(logitRows.size());
  std::vector<float> logits(static_cast<std::size_t>(count * model.vocabSize()));
  DecodeStep step;
  step.tokens = tokens;
  step.selfCache = self.cache();
  step.self = selfTables.view();
  step.selfSlots = slots;
  step.crossCache = cross.cache();
  step.cross = crossTables.view();
  step.logitRows = logitRows;
  const Tokens hostRows = allRows(logitRows.size());
  step.hostRows = hostRows;
  step.hostLogits = {logits.data(), DType::float32, {count, model.vocabSize()}};
  model.decodeStep(step);
  return logits;
}

Tokens allRows(std::size_t count) {
  Tokens rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

}  // namespace wgqa::test
