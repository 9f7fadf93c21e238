#include "decode/scheduler.h"

#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "decode/active_request.h"
#include "decode/admission.h"
#include "decode/encode_lane.h"
#include "decode/host_choices.h"
#include "decode/kv_cache.h"
#include "decode/request_check.h"
#include "decode/step_batch.h"

namespace wgqa {
namespace {

constexpr std::int64_t kMaxBatchSize = 65536;
constexpr std::int64_t kMaxBatchTokens = std::int64_t{1} << 20;

void requireInRange(const char* field, std::int64_t value, std::int64_t most) {
  if (value >= 1 && value <= most) return;
  throw invalidArgument(field, "an integer from 1 to " + std::to_string(most),
                        std::to_string(value));
}

const EngineOptions& checked(const EngineOptions& options, const EncoderDecoder& model) {
  requireInRange("maxBatchSize", options.maxBatchSize, kMaxBatchSize);
  requireInRange("maxBatchTokens", options.maxBatchTokens, kMaxBatchTokens);
  model.checkCacheType(options.cacheDtype);
  return options;
}

}  // namespace

class Scheduler::Impl {
 public:
  Impl(EncoderDecoder& model, const EngineOptions& options, Clock clock)
      : model_(model),
        options_(checked(options, model)),
        clock_(std::move(clock)),
        cache_(model.cacheShape(),
               {.blockTokens = options.blockTokens,
                .maxBytes = options.maxCacheBytes,
                .dtype = options.cacheDtype},
               model.memory()),
        lane_(model, cache_, options.maxBatchTokens),
        admission_(cache_, lane_, options.maxBatchSize),
        weightsVersion_(model.weightsVersion()),
        batch_(model.vocabSize()),
        hostChoices_(model.vocabSize()) {
    publish();
  }

  TimePoint now() const { return clock_(); }
  void submit(RequestId id, GenerationRequest&& request, TimePoint submitted);
  void abort(RequestId id);
  void failAll(const Error& error);
  void setPaused(RequestId id, bool paused);
  void answerLogits(RequestId id, std::vector<float>&& logits);
  bool hasWork() const;
  std::optional<TimePoint> nextDeadline() const;
  void step(EngineEvents& events);
  EngineStats stats() const { return recorder_.snapshot(); }
  void checkInvariant() const;

 private:
  using Request = ActiveRequest;
  /// A request that takes part in the running step.
  struct Fed {
    Request* request;
    bool isCaughtUp;           // all its rows were fed their last token
    std::int64_t firstLogits;  // of those that are wanted on the host
  };

  Request* find(RequestId id) const;
  void enter(std::unique_ptr<Request> made);
  void leave(Request& request);
  void end(Request& request, GenerationResult result);
  void fail(Request& request, const Error& error);

  void expire();
  void takeAnswers();

  void encode();
  void decode();
  bool feed(Request& request, std::int64_t& budget);
  bool catchUp(Request& request, std::int64_t row, std::int64_t& budget);
  bool feedToken(Request& request, std::int64_t row);
  void chooseOnHost();
  void failFed(const Error& error);
  void sendLogits(Request& request, std::int64_t firstLogits);
  void advance(Request& request);
  void publish();

  EncoderDecoder& model_;
  EngineOptions options_;
  Clock clock_;
  KvCache cache_;
  EncodeLane lane_;
  Admission admission_;
  std::uint64_t weightsVersion_;

  // Destroyed before the cache that they hold blocks of.
  std::unordered_map<RequestId, std::unique_ptr<Request>> requests_;
  std::set<std::pair<TimePoint, RequestId>> deadlines_;
  std::vector<RequestId> answered_;
  Request::Arrival arrivals_ = 0;

  EngineEvents events_;  // not yet taken by step()
  // Memory that steps reuse.
  std::vector<Request*> order_;
  StepBatch batch_;
  std::vector<Fed> fed_;
  HostChoices hostChoices_;
  std::int64_t chosenInStep_ = 0;  // rows of which tokens were chosen
  EngineStats stats_;
  StatsRecorder recorder_;
};

// ---------------------------------------------------------------------------- calls

void Scheduler::Impl::submit(RequestId id, GenerationRequest&& request, TimePoint submitted) {
  try {
    require(!requests_.contains(id), "a request's id is used twice");
    checkRequest(request, cache_, model_.vocabSize(), options_.maxBatchSize);
    TokenCallback onToken;
    if (request.reportTokens) {
      onToken = [this, id](const GeneratedToken& token) { events_.tokens.push_back({id, token}); };
    }
    enter(std::make_unique<Request>(id, ++arrivals_, std::move(request), submitted, onToken));
  } catch (...) {
    GenerationResult result;
    result.error = currentError();
    ++stats_.failed;
    events_.finished.push_back({id, std::move(result)});
  }
}

/// All or nothing: memory may run out in between.
void Scheduler::Impl::enter(std::unique_ptr<Request> made) {
  Request& request = *requests_.emplace(made->id(), std::move(made)).first->second;
  try {
    if (const auto deadline = request.deadline()) deadlines_.insert({*deadline, request.id()});
    admission_.enqueue(request);
  } catch (...) {
    leave(request);
    throw;
  }
}

void Scheduler::Impl::leave(Request& request) {
  admission_.remove(request);
  if (const auto deadline = request.deadline()) deadlines_.erase({*deadline, request.id()});
  requests_.erase(request.id());
}

Scheduler::Impl::Request* Scheduler::Impl::find(RequestId id) const {
  const auto found = requests_.find(id);
  return found == requests_.end() ? nullptr : found->second.get();
}

void Scheduler::Impl::abort(RequestId id) {
  if (Request* request = find(id)) {
    fail(*request, Error(ErrorCode::aborted, "the request was aborted"));
  }
}

void Scheduler::Impl::failAll(const Error& error) {
  while (!requests_.empty()) fail(*requests_.begin()->second, error);
}

void Scheduler::Impl::setPaused(RequestId id, bool paused) {
  if (Request* request = find(id)) request->isPaused = paused;
}

void Scheduler::Impl::answerLogits(RequestId id, std::vector<float>&& logits) {
  Request* request = find(id);
  if (request == nullptr || request->logits != Request::Logits::sent) return;
  const auto wanted = static_cast<std::size_t>(request->rows() * model_.vocabSize());
  if (logits.size() != wanted) {
    return fail(*request, invalidArgument("logits", std::to_string(wanted) + " values",
                                          std::to_string(logits.size())));
  }
  request->answer = std::move(logits);
  request->logits = Request::Logits::answered;
  answered_.push_back(id);
}

bool Scheduler::Impl::hasWork() const {
  return !events_.empty() || !answered_.empty() || !lane_.empty() || admission_.hasWork();
}

std::optional<Scheduler::TimePoint> Scheduler::Impl::nextDeadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

void Scheduler::Impl::checkInvariant() const {
  std::vector<const BlockTable*> tables;
  for (const auto& [id, request] : requests_) request->collectTables(tables);
  cache_.checkInvariant(tables);
}

// ---------------------------------------------------------------------------- ends

void Scheduler::Impl::end(Request& request, GenerationResult result) {
  events_.finished.push_back({request.id(), std::move(result)});
  leave(request);
}

void Scheduler::Impl::fail(Request& request, const Error& error) {
  ++(error.code() == ErrorCode::aborted ? stats_.aborted : stats_.failed);
  GenerationResult result = request.makeResult(now());
  result.error = error;
  end(request, std::move(result));
}

void Scheduler::Impl::expire() {
  const TimePoint time = now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= time) {
    Request& request = *find(deadlines_.begin()->second);
    fail(request, Error(ErrorCode::timeout, "the request was not done within its timeout"));
  }
}

// ---------------------------------------------------------------------------- a step

void Scheduler::Impl::step(EngineEvents& events) {
  const TimePoint began = now();
  const std::uint64_t version = model_.weightsVersion();
  if (std::exchange(weightsVersion_, version) != version) cache_.forgetCached();
  chosenInStep_ = 0;
  expire();
  takeAnswers();
  admission_.admitWaiting(now());
  const bool works = !lane_.empty() || !admission_.active().empty();
  encode();
  decode();
  if (works) {
    const std::chrono::duration<double, std::milli> took = now() - began;
    recorder_.stepTook(took.count(), chosenInStep_);
  }
  publish();
  events = std::exchange(events_, {});
}

void Scheduler::Impl::encode() {
  if (lane_.empty()) return;
  const TimePoint began = now();
  if (const auto failure = lane_.advance(batch_.rows())) {
    for (const SourceUse& source : failure->sources) {
      order_ = admission_.active();
      for (Request* request : order_) {
        if (request->source() == &*source) fail(*request, failure->error);
      }
    }
  }
  stats_.encodedTokens = lane_.encodedTokens();
  stats_.encodeSeconds += std::chrono::duration<double>(now() - began).count();
}

void Scheduler::Impl::decode() {
  batch_.clear();
  fed_.clear();
  const TimePoint began = now();
  std::int64_t budget = options_.maxBatchTokens;
  std::int64_t sequences = 0;
  order_ = admission_.active();  // feeding preempts
  for (Request* request : order_) {
    if (!request->isEncoded() || request->isHeld()) continue;
    sequences += request->rows();
    if (sequences > options_.maxBatchSize) break;
    if (!feed(*request, budget)) admission_.preempt(*request);
  }
  if (batch_.rows() == 0) return;
  const std::int64_t bytesBefore = model_.weightBytesRead();
  try {
    batch_.run(model_, cache_);
  } catch (...) {
    return failFed(currentError());
  }
  stats_.decodeWeightBytes += model_.weightBytesRead() - bytesBefore;
  stats_.decodeSteps += 1;
  stats_.decodedRows += batch_.rows();
  chosenInStep_ += batch_.choosingRows();
  for (const Fed& fed : fed_) {
    fed.request->learnPrefixes(cache_.prefixes(), cache_.self().blockTokens());
  }
  chooseOnHost();
  for (const Fed& fed : fed_) {
    if (!fed.isCaughtUp) continue;
    if (fed.request->request().processesLogits) {
      sendLogits(*fed.request, fed.firstLogits);
    } else {
      advance(*fed.request);
    }
  }
  stats_.decodeSeconds += std::chrono::duration<double>(now() - began).count();
}

/// Chooses for requests of which neither the model nor the caller does.
void Scheduler::Impl::chooseOnHost() {
  hostChoices_.clear();
  for (const Fed& fed : fed_) {
    const GenerationRequest& request = fed.request->request();
    if (!fed.isCaughtUp || request.processesLogits || !request.options.choosesOnHost()) continue;
    hostChoices_.add(*fed.request, batch_.logits(fed.firstLogits, fed.request->rows()));
  }
  chosenInStep_ += hostChoices_.choose();
}

/// Adds the request's rows to the batch. False if there was no room.
bool Scheduler::Impl::feed(Request& request, std::int64_t& budget) {
  const StepBatch::Mark mark = batch_.mark();
  std::int64_t firstLogits = 0;
  bool fits = true;
  bool caughtUp = true;
  for (std::int64_t row = 0; fits && caughtUp && row < request.rows(); ++row) {
    fits = catchUp(request, row, budget);
    caughtUp = fits && request.isCaughtUp(row);
  }
  for (std::int64_t row = 0; fits && caughtUp && row < request.rows(); ++row) {
    fits = feedToken(request, row);
    if (!fits) break;
    if (!request.request().wantsLogits()) {
      batch_.choose(request.strategy(), row);
    } else {
      const std::int64_t place = batch_.wantLogits();
      if (row == 0) firstLogits = place;
    }
  }
  if (!fits) {
    batch_.rollBack(mark);
    return false;
  }
  if (batch_.rows() > static_cast<std::int64_t>(mark.rows)) {
    fed_.push_back({&request, caughtUp, firstLogits});
  }
  return true;
}

/// Feeds the row's tokens but for the last one, as many as the budget allows.
bool Scheduler::Impl::catchUp(Request& request, std::int64_t row, std::int64_t& budget) {
  if (budget == 0 && !request.isCaughtUp(row)) return true;
  const Request::Lookup lookup = request.findPrefix(row, cache_);
  stats_.prefixTokens += lookup.tokens;
  stats_.prefixHits += lookup.hits;
  for (; budget > 0 && request.unfed(row).size() > 1; --budget) {
    if (!feedToken(request, row)) return false;
  }
  return true;
}

bool Scheduler::Impl::feedToken(Request& request, std::int64_t row) {
  BlockTable& table = request.selfTable(row);
  if (!admission_.makeRoomFor(request, table.blocksToAppend(1))) return false;
  batch_.add(table, request.source()->table, request.unfed(row).front());
  return true;
}

void Scheduler::Impl::failFed(const Error& error) {
  for (const Fed& fed : fed_) fail(*fed.request, error);
}

void Scheduler::Impl::sendLogits(Request& request, std::int64_t firstLogits) {
  LogitsEvent event{.request = request.id(), .histories = {}, .logits = {}};
  for (std::int64_t row = 0; row < request.rows(); ++row) {
    const auto history = request.strategy().history(row);
    event.histories.emplace_back(history.begin() + 1, history.end());
    const auto logits = batch_.logits(firstLogits + row, 1);
    event.logits.insert(event.logits.end(), logits.begin(), logits.end());
  }
  const GenerationOptions& options = request.request().options;
  if (options.logProbs || options.topLogProbs > 0) request.unprocessed = event.logits;
  request.logits = Request::Logits::sent;
  events_.logits.push_back(std::move(event));
}

/// Requests whose logits are back take the step that they have waited for.
void Scheduler::Impl::takeAnswers() {
  std::vector<Request*> requests;
  hostChoices_.clear();
  for (const RequestId id : std::exchange(answered_, {})) {
    Request* request = find(id);
    if (request == nullptr) continue;
    requests.push_back(request);
    hostChoices_.addAnswered(*request);
  }
  chosenInStep_ += hostChoices_.choose();
  for (Request* request : requests) {
    request->logits = Request::Logits::ours;
    advance(*request);
  }
}

/// A request that fails here (logits that are not finite) fails alone.
void Scheduler::Impl::advance(Request& request) {
  const TimePoint time = now();
  if (request.wasScored(time)) recorder_.firstTokenTook(request.firstTokenMilliseconds());
  try {
    if (request.isOutOfTime(time)) request.strategy().setLastStep();
    request.advance();
  } catch (...) {
    return fail(request, currentError());
  }
  if (!request.isFinished()) return;
  GenerationResult result = request.makeResult(time);
  result.sequences = request.strategy().takeSequences();
  for (const GeneratedSequence& sequence : result.sequences) {
    stats_.generatedTokens +=
        static_cast<std::int64_t>(sequence.tokenIds.size() - request.request().forcedPrefix.size());
  }
  ++stats_.completed;
  end(request, std::move(result));
}

void Scheduler::Impl::publish() {
  admission_.count(stats_);
  stats_.cacheBytes = cache_.heldBytes();
  stats_.maxCacheBytes = cache_.maxBytes();
  stats_.selfBlocks = cache_.selfCounts();
  stats_.crossBlocks = cache_.crossCounts();
  stats_.selfBytesPerToken = stats_.selfBlocks.bytesPerBlock / cache_.self().blockTokens();
  stats_.crossBytesPerToken = stats_.crossBlocks.bytesPerBlock / cache_.cross().blockTokens();
  recorder_.publish(stats_);
}

// ---------------------------------------------------------------------------- the class

Scheduler::Scheduler(EncoderDecoder& model, const EngineOptions& options, Clock clock)
    : impl_(std::make_unique<Impl>(model, options, std::move(clock))) {}

Scheduler::~Scheduler() = default;

void Scheduler::submit(RequestId id, GenerationRequest request, TimePoint submitted) {
  impl_->submit(id, std::move(request), submitted);
}

void Scheduler::submit(RequestId id, GenerationRequest request) {
  impl_->submit(id, std::move(request), impl_->now());
}

void Scheduler::abort(RequestId id) { impl_->abort(id); }
void Scheduler::failAll(const Error& error) { impl_->failAll(error); }
void Scheduler::setPaused(RequestId id, bool paused) { impl_->setPaused(id, paused); }

void Scheduler::answerLogits(RequestId id, std::vector<float> logits) {
  impl_->answerLogits(id, std::move(logits));
}

bool Scheduler::hasWork() const { return impl_->hasWork(); }
std::optional<Scheduler::TimePoint> Scheduler::nextDeadline() const {
  return impl_->nextDeadline();
}
void Scheduler::step(EngineEvents& events) { impl_->step(events); }
EngineStats Scheduler::stats() const { return impl_->stats(); }
void Scheduler::checkInvariant() const { impl_->checkInvariant(); }

}  // namespace wgqa
