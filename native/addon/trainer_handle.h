// NativeTrainer of src/native.ts.
#pragma once

#include <napi.h>

#include <mutex>

#include "addon/dependent.h"
#include "train/trainer.h"

namespace wgqa {

/// A trainer, the model it updates and, for distillation, the model that teaches. It is a dependent
/// of both: released on the executor of either, while the other may run one of its jobs.
class TrainerState : public ModelDependent {
 public:
  /// `teacher` may be null.
  TrainerState(std::shared_ptr<ModelState> model, std::shared_ptr<ModelState> teacher,
               const TrainerOptions& options)
      : ModelDependent(std::move(model)), teacher_(std::move(teacher)), options_(options) {}

  /// On the model's executor: work(trainer), which release() waits for. Makes the trainer on first
  /// use. Throws ErrorCode::disposed.
  template <typename Work>
  auto use(const Work& work) {
    const std::lock_guard lock(mutex_);
    return work(trainer());
  }
  void release() override;
  /// Null without distillation.
  const std::shared_ptr<ModelState>& teacher() const { return teacher_; }

  std::atomic<std::int64_t> stepCount = 0;

 private:
  Trainer& trainer();

  std::shared_ptr<ModelState> teacher_;
  std::mutex mutex_;  // of what follows
  TrainerOptions options_;
  std::unique_ptr<Trainer> trainer_;
  bool released_ = false;
};

class TrainerHandle : public Napi::ObjectWrap<TrainerHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Called with an External of the state: made by createTrainer.
  explicit TrainerHandle(const Napi::CallbackInfo& info);

 private:
  using Method = Napi::Value (TrainerHandle::*)(const Napi::CallbackInfo&);
  template <Method method>
  Napi::Value guarded(const Napi::CallbackInfo& info) {
    return guardErrors(info.Env(), [&] { return (this->*method)(info); });
  }
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value gradients(const Napi::CallbackInfo& info);
  Napi::Value stateTensors(const Napi::CallbackInfo& info);
  Napi::Value readState(const Napi::CallbackInfo& info);
  Napi::Value writeState(const Napi::CallbackInfo& info);
  Napi::Value stepCount(const Napi::CallbackInfo& info);
  Napi::Value setStepCount(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<TrainerState> state_;
};

/// createTrainer of NativeBinding.
Napi::Value createTrainer(const Napi::CallbackInfo& info);

}  // namespace wgqa
