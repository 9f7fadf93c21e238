#include "ops/cuda/kernels/embedding.h"

#include <algorithm>
#include <numeric>

#include "ops/cuda/grids.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 128;
constexpr std::int64_t kColumnsPerBlock = 4 * kThreads;

// Places of the tokens, grouped by id and within a group in their order.
struct TokenRuns {
  std::vector<std::int32_t> tokens, ids, offsets;

  explicit TokenRuns(std::span<const std::int32_t> idOf) : tokens(idOf.size()) {
    std::iota(tokens.begin(), tokens.end(), 0);
    const auto id = [&](std::int32_t token) { return idOf[static_cast<std::size_t>(token)]; };
    std::ranges::stable_sort(tokens, {}, id);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0 && id(tokens[i]) == ids.back()) continue;
      ids.push_back(id(tokens[i]));
      offsets.push_back(static_cast<std::int32_t>(i));
    }
    offsets.push_back(static_cast<std::int32_t>(tokens.size()));
  }
};

}  // namespace

void embedding(const Embedding& p, Session& session) {
  const int type = p.table.dtype == DType::float32 ? 0 : p.table.dtype == DType::float16 ? 1 : 2;
  session.launch(kEmbedding[type], {p.out.shape[0]}, {kThreads},
                 {.ids = session.table(p.ids),
                  .table = p.table.data,
                  .out = p.out.as<float>(),
                  .columns = p.out.shape[1]});
}

void embeddingBackward(const EmbeddingBackward& p, Session& session) {
  const TokenRuns runs(p.ids);
  const std::int64_t columns = p.gradTable.shape[1];
  using Table = std::span<const std::int32_t>;
  session.launch(kEmbeddingBackward, {std::ssize(runs.ids), divideUp(columns, kColumnsPerBlock)},
                 {kThreads},
                 {.runs = session.table(Table(runs.offsets)),
                  .runIds = session.table(Table(runs.ids)),
                  .tokens = session.table(Table(runs.tokens)),
                  .gradOut = p.gradOut.as<float>(),
                  .gradTable = p.gradTable.as<float>(),
                  .columns = columns});
}

}  // namespace wgqa::cuda
