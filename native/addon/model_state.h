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

/// A trainer or decoder: freed with its model.
class Dependent {
 public:
  virtual ~Dependent() = default;
  virtual void release() = 0;
};

class ModelState {
 public:
  explicit ModelState(int threads) : threads_(threads), executor_(threads) {}

  Executor& executor() { return executor_; }
  int threads() const { return threads_; }

  /// On the executor's thread only. Throws ErrorCode::disposed once the model is gone.
  T5Model& model();
  void setModel(std::unique_ptr<T5Model> model);
  void addDependent(const std::shared_ptr<Dependent>& dependent);
  /// Frees the model and everything that depends on it.
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
  void abortAll();

 private:
  int threads_;
  bool stopped_ = false;
  std::unique_ptr<T5Model> model_;
  std::vector<std::weak_ptr<Dependent>> dependents_;
  mutable std::mutex mutex_;
  std::vector<DType> dtypes_;
  std::vector<std::weak_ptr<AbortFlag>> flags_;
  Executor executor_;  // last: its thread ends before the rest is destroyed
};

}  // namespace wgqa
