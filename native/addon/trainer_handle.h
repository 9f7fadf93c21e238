// NativeTrainer of src/native.ts.
#pragma once

#include <napi.h>

#include "addon/dependent.h"
#include "train/trainer.h"

namespace wgqa {

/// A trainer and the model it updates.
class TrainerState : public ModelDependent {
 public:
  TrainerState(std::shared_ptr<ModelState> model, const TrainerOptions& options)
      : ModelDependent(std::move(model)), options_(options) {}

  /// On the executor's thread: makes the trainer on first use. Throws ErrorCode::disposed.
  Trainer& trainer();
  void release() override;

  std::atomic<std::int64_t> stepCount = 0;

 private:
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
