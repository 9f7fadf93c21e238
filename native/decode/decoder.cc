#include "decode/decoder.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "decode/active_request.h"
#include "decode/admission.h"
#include "decode/source_encoder.h"
#include "decode/step_batch.h"

namespace wgqa {
namespace {

constexpr std::int64_t kMaxBatchSize = 65536;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

const DecoderOptions& checked(const DecoderOptions& options) {
  if (options.maxBatchSize < 1 || options.maxBatchSize > kMaxBatchSize) {
    throw invalidArgument("maxBatchSize", "an integer from 1 to " + std::to_string(kMaxBatchSize),
                          std::to_string(options.maxBatchSize));
  }
  if (options.maxEncodeTokens < 1) {
    throw invalidArgument("maxEncodeTokens", "an integer >= 1",
                          std::to_string(options.maxEncodeTokens));
  }
  return options;
}

}  // namespace

/// Waiting requests are admitted in the order of their arrival, as soon as the most they may need
/// fits beside the active ones; all active ones take each step together and leave when they finish.
class Decoder::Engine {
 public:
  Engine(EncoderDecoder& model, const DecoderOptions& options)
      : model_(model),
        options_(checked(options)),
        cache_(model.cacheShape(), {.blockTokens = options.blockTokens,
                                    .maxBytes = options.maxCacheBytes,
                                    .dtype = options.cacheDtype}),
        encoder_(model, cache_, options.maxEncodeTokens) {
    publish();
  }

  std::vector<GenerationResult> run(std::span<const GenerationRequest> requests) {
    std::vector<GenerationResult> results(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) submit({&requests[i], &results[i]});
    try {
      while (!waiting_.empty() || !active_.empty()) {
        dropAborted();
        admit();
        if (!active_.empty()) step();
        publish();
      }
    } catch (...) {
      waiting_.clear();
      active_.clear();
      publish();
      throw;
    }
    checkInvariant();
    return results;
  }

  void checkInvariant() const {
    std::vector<const BlockTable*> self;
    std::vector<const BlockTable*> cross;
    for (const auto& request : active_) request->collectTables(self, cross);
    wgqa::checkInvariant(cache_.self().pool(), self);
    wgqa::checkInvariant(cache_.cross().pool(), cross);
  }

  DecoderStats stats() const {
    const std::lock_guard lock(mutex_);
    return published_;
  }

 private:
  void submit(const Ticket& ticket) {
    try {
      checkRequest(*ticket.request, cache_, model_.vocabSize(), options_.maxBatchSize);
      waiting_.push_back(ticket);
    } catch (const Error& error) {
      ticket.result->error = error;
    }
  }

  void dropAborted() {
    const auto fail = [](const Ticket& ticket) {
      if (!ticket.isAborted()) return false;
      ticket.result->error = Error(ErrorCode::aborted, "the request was aborted");
      return true;
    };
    std::erase_if(waiting_, fail);
    std::erase_if(active_, [&](const auto& request) { return fail(request->ticket()); });
  }

  void admit() {
    CacheNeed need;
    for (const auto& request : active_) {
      need += needOf(*request->ticket().request, request->maxSequences(), cache_);
    }
    const std::size_t before = active_.size();
    while (!waiting_.empty()) {
      const Ticket ticket = waiting_.front();
      need += needOf(*ticket.request, ticket.request->options.sequences(), cache_);
      if (need.sequences > options_.maxBatchSize || need.bytes > cache_.maxBytes()) break;
      waiting_.pop_front();
      active_.push_back(std::make_unique<ActiveRequest>(ticket, cache_));
    }
    if (active_.size() == before) return;
    const Stopwatch watch;
    encoder_.encode(std::span(active_).subspan(before));
    removeFailed();
    stats_.encodeSeconds += watch.seconds();
  }

  void step() {
    const Stopwatch watch;
    batch_.clear();
    for (const auto& request : active_) batch_.add(*request);
    const std::int64_t bytesBefore = model_.weightBytesRead();
    batch_.run(model_, cache_);
    stats_.decodeWeightBytes += model_.weightBytesRead() - bytesBefore;
    batch_.scoreRows(scratch_);
    for (const auto& request : active_) advance(*request);
    removeFailed();
    removeFinished();
    stats_.decodeSteps += 1;
    stats_.decodeSeconds += watch.seconds();
  }

  /// A request that fails here (logits that are not finite, a callback that throws) fails alone.
  static void advance(ActiveRequest& request) {
    std::optional<Error>& error = request.ticket().result->error;
    try {
      request.advance();
    } catch (const Error& failure) {
      error = failure;
    } catch (const std::exception& failure) {
      error = Error(ErrorCode::internal, failure.what());
    }
  }

  void removeFailed() {
    std::erase_if(active_,
                  [](const auto& request) { return request->ticket().result->error.has_value(); });
  }

  void removeFinished() {
    std::erase_if(active_, [this](const auto& request) {
      if (!request->isFinished()) return false;
      auto& sequences = request->ticket().result->sequences;
      sequences = request->strategy().takeSequences();
      for (const GeneratedSequence& sequence : sequences) {
        stats_.generatedTokens += static_cast<std::int64_t>(sequence.tokenIds.size());
      }
      return true;
    });
  }

  void publish() {
    const BlockStorage& self = cache_.self();
    stats_.cacheBytes = cache_.touchedBytes();
    stats_.selfBytesPerToken = self.blockBytes() / self.blockTokens();
    stats_.crossBytesPerToken = cache_.cross().blockBytes() / cache_.cross().blockTokens();
    stats_.blocksTotal = cache_.maxBytes() / self.blockBytes();
    stats_.blocksFree = (cache_.maxBytes() - cache_.inUseBytes()) / self.blockBytes();
    const std::lock_guard lock(mutex_);
    published_ = stats_;
  }

  EncoderDecoder& model_;
  DecoderOptions options_;
  KvCache cache_;
  SourceEncoder encoder_;
  std::deque<Ticket> waiting_;
  std::vector<std::unique_ptr<ActiveRequest>> active_;  // in the order of arrival
  StepBatch batch_;
  std::vector<RowScratch> scratch_;  // one per thread
  DecoderStats stats_;
  mutable std::mutex mutex_;  // guards published_
  DecoderStats published_;
};

Decoder::Decoder(EncoderDecoder& model, const DecoderOptions& options)
    : engine_(std::make_unique<Engine>(model, options)) {}

Decoder::~Decoder() = default;

std::vector<GenerationResult> Decoder::run(std::span<const GenerationRequest> requests) {
  return engine_->run(requests);
}

DecoderStats Decoder::stats() const { return engine_->stats(); }

void Decoder::checkInvariant() const { engine_->checkInvariant(); }

}  // namespace wgqa
