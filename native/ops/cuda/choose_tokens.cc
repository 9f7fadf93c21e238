#include "ops/cuda/kernels/choose_tokens.h"

#include <algorithm>
#include <bit>

#include "ops/cuda/grids.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

// Device memory beside the logits.
struct Needs {
  bool scores = false;          // processed ones
  bool ranks = false;           // of candidates with noise, or of a filtered row
  std::int64_t listLength = 0;  // of candidates that do not fit in shared memory
};

Needs needsOf(std::span<const RowChoice> choices) {
  Needs needs;
  for (const RowChoice& choice : choices) {
    const bool isEdited = choice.penalised.begin < choice.penalised.end ||
                          choice.forbidden.begin < choice.forbidden.end;
    needs.scores |= isEdited || choice.temperature != 1.0f;
    if (choice.take == Take::best || choice.take == Take::draws) continue;
    const bool isFiltered = choice.topK > 0 || choice.topP < 1.0 || choice.minP > 0.0;
    needs.ranks |= isFiltered || choice.take == Take::drawnCandidates;
    if (choice.count <= kChooseListed) continue;
    const auto length = std::bit_ceil(static_cast<std::uint32_t>(choice.count));
    needs.listLength = std::max(needs.listLength, std::int64_t{length});
  }
  return needs;
}

}  // namespace

// Memory that this step has no need of is named all the same once it is there: steps of the same
// rows are then the same launch.
void chooseTokens(const ChooseTokens& p, Session& session) {
  const std::span<const RowChoice> choices = p.choices.rows;
  const auto count = static_cast<std::int64_t>(choices.size());
  const std::int64_t vocab = p.logits.shape[1];
  const std::int64_t stride = divideUp(vocab, 4) * 4;
  const Needs needs = needsOf(choices);
  using Scratch = Session::Scratch;
  session.launch(
      kChooseTokens, {count}, {kChooseThreads, sizeof(ChooseShared)},
      {.logits = p.logits.as<float>(),
       .choices = session.table(choices),
       .uniforms = session.table(p.choices.uniforms),
       .tokens = session.table(p.choices.tokens),
       .chosen = p.chosen.as<ChosenToken>(),
       .scores = session.scratch<float>(Scratch::first, needs.scores ? count * stride : 0),
       .ranks = session.scratch<float>(Scratch::second, needs.ranks ? count * stride : 0),
       .lists = session.scratch<RankedToken>(Scratch::third, count * needs.listLength),
       .logitsStride = p.logits.strides[0],
       .scoresStride = stride,
       .listLength = needs.listLength,
       .vocab = static_cast<std::int32_t>(vocab)});
}

}  // namespace wgqa::cuda
