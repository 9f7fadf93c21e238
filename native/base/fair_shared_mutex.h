// A readers-writer lock that serves threads in the order in which they come, so that neither a busy
// reader starves writers nor the reverse: std::shared_mutex promises neither.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace wgqa {

/// For std::unique_lock and std::shared_lock. Not recursive: a thread that holds it in one way and
/// asks for it again may wait for itself.
class FairSharedMutex {
 public:
  void lock() {
    std::unique_lock turn(mutex_);
    waitForTurn(turn, [this] { return !writing_ && readers_ == 0; });
    writing_ = true;
  }
  void unlock() {
    const std::lock_guard guard(mutex_);
    writing_ = false;
    changed_.notify_all();
  }
  void lock_shared() {
    std::unique_lock turn(mutex_);
    waitForTurn(turn, [this] { return !writing_; });
    ++readers_;
    changed_.notify_all();  // the next in line may be a reader too
  }
  void unlock_shared() {
    const std::lock_guard guard(mutex_);
    --readers_;
    changed_.notify_all();
  }

  /// Threads in line just now.
  std::uint64_t waiting() const {
    const std::lock_guard guard(mutex_);
    return nextTicket_ - served_;
  }

 private:
  template <typename Ready>
  void waitForTurn(std::unique_lock<std::mutex>& turn, const Ready& ready) {
    const std::uint64_t ticket = nextTicket_++;
    changed_.wait(turn, [&] { return served_ == ticket && ready(); });
    ++served_;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t nextTicket_ = 0;
  std::uint64_t served_ = 0;  // tickets whose holders got in
  std::int64_t readers_ = 0;
  bool writing_ = false;
};

}  // namespace wgqa
