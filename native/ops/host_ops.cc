#include "ops/host_ops.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

namespace wgqa {
namespace {

void copyBytes(void* to, const void* from, std::int64_t bytes) {
  if (to != from && bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

constexpr std::int64_t kCopyGrainBytes = 1 << 17;  // that are worth a thread

}  // namespace

void copyHostBlocks(const CopyBlocks& p) {
  const std::int64_t bytes = p.blocks.shape[2];
  const auto count = static_cast<std::int64_t>(p.sources.size());
  const std::int64_t grain = std::max<std::int64_t>(kCopyGrainBytes / bytes, 1);
  parallelFor(p.blocks.shape[0] * count, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      auto* layer = p.blocks.as<std::byte>() + (i / count) * p.blocks.strides[0];
      const auto copy = static_cast<std::size_t>(i % count);
      copyBytes(layer + p.destinations[copy] * bytes, layer + p.sources[copy] * bytes, bytes);
    }
  });
}

void HostTokenChooser::run(const ChooseTokens& p) {
  const auto vocab = static_cast<std::size_t>(p.logits.shape[1]);
  rows_.clear();
  for (const RowChoice& choice : p.choices.rows) {
    const std::span<float> logits(p.logits.as<float>() + choice.row * p.logits.strides[0], vocab);
    rows_.push_back({&choice, logits, logits});
  }
  const std::span<ChosenToken> chosen(p.chosen.as<ChosenToken>(),
                                      static_cast<std::size_t>(p.chosen.shape[0]));
  chooseRows(rows_, p.choices, chosen, scratch_);
}

void HostOps::copyBlocks(const CopyBlocks& p) { copyHostBlocks(p); }

void HostOps::upload(const void* host, const TensorView& to) {
  copyBytes(to.data, host, to.bytes());
}

void HostOps::download(const ConstTensorView& from, void* host) {
  copyBytes(host, from.data, from.bytes());
}

void HostOps::copy(const ConstTensorView& from, const TensorView& to) {
  copyBytes(to.data, from.data, to.bytes());
}

void HostOps::zero(const TensorView& view) {
  if (view.bytes() > 0) std::memset(view.data, 0, static_cast<std::size_t>(view.bytes()));
}

}  // namespace wgqa
