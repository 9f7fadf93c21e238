#include "ops/reference/reference_ops.h"
#include "ops/reference/wide.h"

namespace wgqa::reference {

void ReferenceOps::embedding(const Embedding& p) {
  const std::int64_t dModel = p.table.shape[1];
  for (std::size_t token = 0; token < p.ids.size(); ++token) {
    for (std::int64_t i = 0; i < dModel; ++i) {
      writeElement(p.out, static_cast<std::int64_t>(token) * dModel + i,
                   readElement(p.table, p.ids[token] * dModel + i));
    }
  }
}

void ReferenceOps::embeddingBackward(const EmbeddingBackward& p) {
  Wide table = load(p.gradTable);
  const Wide gradOut = load(p.gradOut);
  const std::int64_t dModel = p.gradTable.shape[1];
  for (std::size_t token = 0; token < p.ids.size(); ++token) {
    for (std::int64_t i = 0; i < dModel; ++i) {
      table[p.ids[token] * dModel + i] += gradOut[token * dModel + i];
    }
  }
  store(table, p.gradTable);
}

}  // namespace wgqa::reference
