// Decodes many requests together over one paged, grouped KV cache.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "decode/generation_options.h"
#include "model/decode_step.h"

namespace wgqa {

struct DecoderOptions {
  std::int64_t blockTokens = 16;        // tokens of a cache block
  std::int64_t maxCacheBytes = 0;       // budget of self- and cross-attention together
  DType cacheDtype = DType::float32;    // float32 | bfloat16
  std::int64_t maxBatchSize = 64;       // sequences of a step; a beam or a sample is one
  std::int64_t maxEncodeTokens = 4096;  // source tokens encoded at once; a longer source goes alone
};

struct GenerationRequest {
  std::vector<std::int32_t> inputIds;
  GenerationOptions options;
  /// Set by any thread to stop the request within one step. May be null; must outlive the run.
  const std::atomic<bool>* abort = nullptr;
  /// Called on the decoding thread with each new token, the end token included. Only for requests
  /// of one sequence without beams: others have no token that is final before their end.
  std::function<void(std::int32_t)> onToken;
};

/// `stop`: an end token was generated; `length`: maxNewTokens were, or no token was allowed any
/// more.
enum class FinishReason : std::uint8_t { stop, length };

struct GeneratedSequence {
  std::vector<std::int32_t>
      tokenIds;                 // without the start token, with the end token if there is one
  std::optional<float> score;   // beam search: sum of log-probs / length^lengthPenalty
  std::vector<float> logProbs;  // [tokenIds] if asked for: of the model, before any processing
  FinishReason finishReason = FinishReason::length;
};

/// Either `error` or up to numReturnSequences sequences, beams best first. (Fewer only if a tiny
/// vocabulary or a ban on repetition leaves beam search fewer continuations.)
struct GenerationResult {
  std::vector<GeneratedSequence> sequences;
  std::optional<Error> error;
};

struct DecoderStats {
  std::int64_t cacheBytes = 0;  // of blocks in use or kept for reuse
  std::int64_t selfBytesPerToken = 0;
  std::int64_t crossBytesPerToken = 0;
  std::int64_t blocksTotal = 0;  // the budget in self-attention blocks
  std::int64_t blocksFree = 0;   // what is not in use of it
  std::int64_t decodeSteps = 0;
  std::int64_t generatedTokens = 0;  // of the sequences that were returned
  double decodeSeconds = 0.0;
  double encodeSeconds = 0.0;
  std::int64_t decodeWeightBytes = 0;
};

/// Used by one thread at a time, except stats(). The model must outlive the decoder.
class Decoder {
 public:
  /// Throws ErrorCode::invalidArgument naming a bad option. Reserves no memory yet.
  Decoder(EncoderDecoder& model, const DecoderOptions& options);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// The n-th result belongs to the n-th request. A request that fails alone (bad option, too long,
  /// aborted, logits that are not finite) carries its error and leaves the others as they were:
  /// tokens do not depend on what else is in the batch.
  /// Throws what the model throws in a decoding step; every block is free afterwards.
  std::vector<GenerationResult> run(std::span<const GenerationRequest> requests);

  /// Callable from any thread.
  DecoderStats stats() const;

  /// Throws ErrorCode::internal unless every cache block is free, or referenced exactly as often as
  /// the requests that are being decoded hold it. For tests; callable from a model or a callback.
  void checkInvariant() const;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace wgqa
