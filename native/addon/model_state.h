// A model as the addon shares it between its handles: the native object, the thread that alone
// touches it, and what depends on it.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "addon/executor.h"
#include "model/t5_model.h"

namespace wgqa {

using SharedAbortFlag = std::shared_ptr<AbortFlag>;

/// What every use of a disposed model gets.
Error disposedError();

/// A trainer or engine: freed with each model that it works with.
class Dependent {
 public:
  virtual ~Dependent() = default;
  /// On the executor of a model that it works with. Idempotent.
  virtual void release() = 0;
  /// Any thread: the environment ends; stops threads of its own and waits for them.
  virtual void interrupt() {}
};

class ModelState {
 public:
  explicit ModelState(int threads) : threads_(threads), executor_(threads) {}

  Executor& executor() { return executor_; }
  int threads() const { return threads_; }

  /// On the executor's thread, or on that of a dependent before its release(). Throws
  /// ErrorCode::disposed once the model is gone.
  T5Model& model();
  void setModel(std::unique_ptr<T5Model> model);
  /// Any thread. Throws ErrorCode::disposed once release() has begun.
  void addDependent(const std::shared_ptr<Dependent>& dependent);
  /// On the executor's thread: frees everything that depends on the model, then the model.
  void release();
  /// Called after each task on the model, since training turns parameters into float32.
  void refreshDtypes();

  /// On the event loop: ends the thread after what is queued; later jobs are rejected.
  void stop() {
    stopped_ = true;
    executor_.stop();
  }
  bool stopped() const { return stopped_; }

  /// Any thread: element types of the parameters, in their order.
  std::vector<DType> dtypes() const;
  /// Any thread: flags of running and waiting jobs.
  void track(const SharedAbortFlag& flag);
  /// Any thread: sets the flags of all jobs, then stops what runs beside the executor.
  void abortAll();

 private:
  std::vector<std::weak_ptr<Dependent>> dependents() const;

  int threads_;
  bool stopped_ = false;
  std::unique_ptr<T5Model> model_;
  mutable std::mutex mutex_;  // of what follows
  bool released_ = false;
  std::vector<std::weak_ptr<Dependent>> dependents_;
  std::vector<DType> dtypes_;
  std::vector<std::weak_ptr<AbortFlag>> flags_;
  Executor executor_;  // last: its thread ends before the rest is destroyed
};

}  // namespace wgqa
