// A call stack of its own that a thread of the program enters and leaves at will.
#pragma once

#include <functional>
#include <memory>

namespace wgqa::cuda::emulation {

/// Runs tasks one after another on one stack. Used by one thread.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Gives it a task; it must have none. The task must not throw.
  void begin(std::function<void()> task);
  bool isDone() const;
  /// Runs the task until it calls leave() or ends.
  void enter();
  /// From inside the task: returns from enter(), and comes back with the next.
  void leave();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wgqa::cuda::emulation
