#include "test/ops_table.h"

namespace wgqa::test {
namespace {

struct Sizes {
  std::int64_t tokens = 1;
  std::int64_t vocab = 1;
  std::int64_t dModel = 1;
  DType dtype = DType::float32;  // of the table
};

std::string nameOf(const Sizes& s) {
  return "tokens " + std::to_string(s.tokens) + ", vocab " + std::to_string(s.vocab) + ", dModel " +
         std::to_string(s.dModel) + ", " + std::string(dtypeName(s.dtype));
}

std::vector<std::int32_t> drawIds(Random& random, const Sizes& s) {
  std::vector<std::int32_t> ids(s.tokens);
  for (auto& id : ids) id = static_cast<std::int32_t>(random.integer(0, s.vocab - 1));
  return ids;
}

OpCase embeddingCase(const Sizes& s) {
  return {.name = nameOf(s),
          .run =
              [s](Ops& ops, CaseTensors& tensors) {
                const auto ids = drawIds(tensors.random(), s);
                ops.embedding(
                    {.ids = ids,
                     .table = tensors.input("table", {s.dtype, {s.vocab, s.dModel}}, normal()),
                     .out = tensors.output("out", float32Of({s.tokens, s.dModel}))});
              },
          .needs = {},
          .slack = 0.0};  // a gather: exact
}

OpCase backwardCase(const Sizes& s) {
  return {.name = nameOf(s),
          .run =
              [s](Ops& ops, CaseTensors& tensors) {
                const auto ids = drawIds(tensors.random(), s);
                ops.embeddingBackward(
                    {.ids = ids,
                     .gradOut = tensors.input("gradOut", float32Of({s.tokens, s.dModel}), normal()),
                     .gradTable =
                         tensors.update("gradTable", float32Of({s.vocab, s.dModel}), normal())});
              },
          .needs = {}};
}

Sizes randomSizes(Random& random) {
  return {random.integer(1, 150), random.integer(1, 60), random.integer(1, 70),
          random.oneOf({DType::float32, DType::float16, DType::bfloat16})};
}

}  // namespace

std::vector<OpRow> embeddingRows() {
  OpRow forward{.op = "embedding",
                .sameBitsForAnyThreads = true,
                .cases = {},
                .randomCase = [](Random& random) { return embeddingCase(randomSizes(random)); }};
  for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16}) {
    for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{7, 97, 17}, Sizes{130, 97, 24}, Sizes{65, 97, 512},
                           Sizes{3, 32128, 8}}) {
      forward.cases.push_back(embeddingCase({s.tokens, s.vocab, s.dModel, dtype}));
    }
  }
  OpRow backward{.op = "embeddingBackward",
                 .sameBitsForAnyThreads = true,
                 .cases = {},
                 .randomCase = [](Random& random) { return backwardCase(randomSizes(random)); }};
  // A vocabulary of 1: every token adds to the same row.
  for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{7, 97, 17}, Sizes{130, 1, 24}, Sizes{1000, 2, 64},
                         Sizes{65, 97, 512}, Sizes{3, 32128, 8}}) {
    backward.cases.push_back(backwardCase(s));
  }
  return {forward, backward};
}

}  // namespace wgqa::test
