#include "ops/cuda/kernels/embedding.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "ops/cuda/alignment.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/kernel_types.h"
#include "ops/cuda/kernels/warp_columns.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 128;

// The tokens grouped by id and within a group in their order; the largest groups come first: they
// take longest.
struct TokenGroups {
  std::vector<std::int32_t> tokens;
  std::vector<TokenRun> runs;

  explicit TokenGroups(std::span<const std::int32_t> ids) : tokens(ids.size()) {
    std::iota(tokens.begin(), tokens.end(), 0);
    const auto id = [&](std::int32_t token) { return ids[static_cast<std::size_t>(token)]; };
    std::ranges::stable_sort(tokens, {}, id);
    for (std::int32_t i = 0; const std::int32_t token : tokens) {
      if (runs.empty() || id(token) != runs.back().id) runs.push_back({id(token), i, i});
      runs.back().end = ++i;
    }
    std::ranges::stable_sort(runs, std::greater<>(),
                             [](const TokenRun& run) { return run.end - run.begin; });
  }
};

}  // namespace

void embedding(const Embedding& p, Session& session) {
  session.launch(kEmbedding[floatIndex(p.table.dtype)], {p.out.shape[0]}, {kThreads},
                 {.ids = session.table(p.ids),
                  .table = p.table.data,
                  .out = p.out.as<float>(),
                  .columns = p.out.shape[1]});
}

void embeddingBackward(const EmbeddingBackward& p, Session& session) {
  constexpr std::int64_t kColumnsOfBlock = kThreads / kWarpThreadCount * kWarpColumns;
  const TokenGroups groups(p.ids);
  const std::int64_t columns = p.gradTable.shape[1];
  const bool isAligned = haveAlignedRows(columns, {p.gradOut.data, p.gradTable.data});
  session.launch(kEmbeddingBackward[isAligned],
                 {std::ssize(groups.runs), divideUp(columns, kColumnsOfBlock)}, {kThreads},
                 {.runs = session.table(std::span<const TokenRun>(groups.runs)),
                  .tokens = session.table(std::span<const std::int32_t>(groups.tokens)),
                  .gradOut = p.gradOut.as<float>(),
                  .gradTable = p.gradTable.as<float>(),
                  .columns = columns});
}

}  // namespace wgqa::cuda
