// What decides the tokens that are taken of one row of logits, and what was taken: plain numbers,
// as kernels read and write them.
#pragma once

#include <cstdint>

namespace wgqa {

/// What is taken of a row.
enum class Take : std::uint8_t {
  best,        // the best token
  draws,       // for each uniform number, the token at which the cumulative probability passes it
  candidates,  // the best tokens, best first
  drawnCandidates,  // the same of scores with Gumbel noise: draws without replacement
};

/// [begin, end) of a list that many rows share.
struct ListRange {
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

/// Scores are a row's logits, or its log-probabilities; they are processed in the order of the
/// fields. -infinity forbids a token. Of equal scores that of the lower token is better.
struct RowChoice {
  std::int64_t firstResult = 0;  // where what is taken goes
  std::int32_t row = 0;          // of the logits
  std::int32_t count = 1;        // how many are taken, if as many are allowed; 1 of Take::best
  Take take = Take::best;
  bool logProbs = false;         // of what is taken, in the distribution before any processing
  bool logSoftmaxFirst = false;  // scores are log-probabilities
  // Divided by the penalty if positive, multiplied if negative: each token once.
  float repetitionPenalty = 1.0f;  // 1: none
  ListRange penalised;
  ListRange forbidden;
  float temperature = 1.0f;
  std::int32_t topK = 0;       // as many best tokens stay, and what ties with the last; 0: all
  std::int32_t minTokens = 1;  // the filters keep as many, at least; min-p also their ties
  double topP = 1.0;           // the fewest best tokens stay whose probabilities sum to it; 1: all
  double minP = 0.0;           // tokens stay that are as probable, relative to the best one; 0: all
  ListRange uniforms;          // of Take::draws: `count` numbers in [0, 1)
  // Of Take::drawnCandidates: token t's noise comes from RandomField{seed, stream}.at(noiseRow, t).
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
  std::uint32_t noiseRow = 0;
  float offset = 0.0f;  // added to the scores of candidates before they are compared
};

inline constexpr std::int32_t kNoToken = -1;  // fewer tokens are allowed than were to be taken
inline constexpr std::int32_t kUnusableRow =
    -2;  // the row holds NaN or +infinity, or -infinity only

struct ChosenToken {
  std::int32_t token = kNoToken;  // or kNoToken, kUnusableRow: then the rest says nothing
  float score = 0.0f;             // processed, with the offset
  float rank = 0.0f;              // what it was compared by: the score, with the noise
  float logProb = 0.0f;           // if asked for
};

}  // namespace wgqa
