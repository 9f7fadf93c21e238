#include "decode/engine.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "base/parallel.h"

namespace wgqa {

/// Calls from other threads wait in an inbox, which the engine's thread empties before each step.
class Engine::Impl {
 public:
  Impl(MakeModel makeModel, const EngineOptions& options, int threads, Listener listener)
      : makeModel_(std::move(makeModel)),
        options_(options),
        listener_(std::move(listener)),
        thread_([this, threads] { run(threads); }) {}

  /// Runs `call` on the engine's thread; dropped once the engine has stopped.
  void post(std::function<void()> call);
  void submit(RequestId id, GenerationRequest&& request, Scheduler::TimePoint submitted);
  Scheduler* scheduler() { return scheduler_.get(); }
  EngineStats stats() const;
  void stop();

 private:
  void run(int threads);
  bool waitForWork();
  void handleCalls();
  void step();
  void shutDown();
  void makeScheduler();

  MakeModel makeModel_;
  EngineOptions options_;
  Listener listener_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::function<void()>> inbox_;
  bool stopping_ = false;
  const Scheduler* published_ = nullptr;  // for stats() of other threads
  EngineStats lastStats_;                 // once there is none

  // Of the engine's thread alone.
  std::unique_ptr<EncoderDecoder> model_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::function<void()>> calls_;

  std::mutex joining_;
  std::thread thread_;  // last: it uses all of the above
};

void Engine::Impl::post(std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  inbox_.push_back(std::move(call));
  wake_.notify_one();
}

void Engine::Impl::submit(RequestId id, GenerationRequest&& request,
                          Scheduler::TimePoint submitted) {
  try {
    makeScheduler();
  } catch (...) {
    EngineEvents events;
    GenerationResult result;
    result.error = currentError();
    events.finished.push_back({id, std::move(result)});
    return listener_(std::move(events));
  }
  scheduler_->submit(id, std::move(request), submitted);
}

void Engine::Impl::makeScheduler() {
  if (scheduler_) return;
  if (!model_) model_ = makeModel_();
  scheduler_ = std::make_unique<Scheduler>(*model_, options_);
  const std::lock_guard lock(mutex_);
  published_ = scheduler_.get();
}

EngineStats Engine::Impl::stats() const {
  const std::lock_guard lock(mutex_);
  return published_ != nullptr ? published_->stats() : lastStats_;
}

void Engine::Impl::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  const std::lock_guard lock(joining_);
  if (thread_.joinable()) thread_.join();
}

void Engine::Impl::run(int threads) {
  setThreadCount(threads);
  while (waitForWork()) {
    handleCalls();
    step();
  }
  handleCalls();
  shutDown();
}

/// False once the engine is to stop.
bool Engine::Impl::waitForWork() {
  const bool hasWork = scheduler_ && scheduler_->hasWork();
  const auto deadline = scheduler_ ? scheduler_->nextDeadline() : std::nullopt;
  std::unique_lock lock(mutex_);
  const auto isCalled = [this] { return stopping_ || !inbox_.empty(); };
  if (!hasWork && deadline) {
    wake_.wait_until(lock, *deadline, isCalled);
  } else if (!hasWork) {
    wake_.wait(lock, isCalled);
  }
  calls_.swap(inbox_);
  return !stopping_;
}

void Engine::Impl::handleCalls() {
  for (const auto& call : calls_) {
    try {
      call();
    } catch (...) {
      // Out of memory: nobody may wait in vain for what the call was about.
      if (scheduler_) scheduler_->failAll(currentError());
    }
  }
  calls_.clear();
}

void Engine::Impl::step() {
  if (!scheduler_) return;
  EngineEvents events;
  try {
    scheduler_->step(events);
  } catch (...) {
    // Only a bug in the scheduler gets here; nobody may wait for it in vain.
    scheduler_->failAll(currentError());
  }
  if (!events.empty()) listener_(std::move(events));
}

void Engine::Impl::shutDown() {
  if (scheduler_) {
    scheduler_->failAll(
        Error(ErrorCode::disposed, "the engine was closed before the request was done", "engine"));
    step();
    const std::lock_guard lock(mutex_);
    lastStats_ = scheduler_->stats();
    published_ = nullptr;
  }
  scheduler_.reset();
  model_.reset();
}

// ---------------------------------------------------------------------------- the class

Engine::Engine(MakeModel makeModel, const EngineOptions& options, int threads, Listener listener)
    : impl_(std::make_unique<Impl>(std::move(makeModel), options, threads, std::move(listener))) {}

Engine::~Engine() { stop(); }

void Engine::submit(RequestId id, GenerationRequest request) {
  // Shared, since a std::function has to be copyable.
  auto owned = std::make_shared<GenerationRequest>(std::move(request));
  const auto submitted = std::chrono::steady_clock::now();
  impl_->post([impl = impl_.get(), id, owned, submitted] {
    impl->submit(id, std::move(*owned), submitted);
  });
}

void Engine::abort(RequestId id) {
  impl_->post([impl = impl_.get(), id] {
    if (impl->scheduler()) impl->scheduler()->abort(id);
  });
}

void Engine::setPaused(RequestId id, bool paused) {
  impl_->post([impl = impl_.get(), id, paused] {
    if (impl->scheduler()) impl->scheduler()->setPaused(id, paused);
  });
}

void Engine::answerLogits(RequestId id, std::vector<float> logits) {
  auto owned = std::make_shared<std::vector<float>>(std::move(logits));
  impl_->post([impl = impl_.get(), id, owned] {
    if (impl->scheduler()) impl->scheduler()->answerLogits(id, std::move(*owned));
  });
}

EngineStats Engine::stats() const { return impl_->stats(); }
void Engine::stop() { impl_->stop(); }

}  // namespace wgqa
