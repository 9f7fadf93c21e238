// What trainers and engines share: native objects that work on a model and are freed with it.
#pragma once

#include <napi.h>

#include <memory>
#include <utility>

#include "addon/job.h"

namespace wgqa {

/// A native object over a model. It is made by the first job that needs it, so a failure to make it
/// is what every call reports.
class ModelDependent : public Dependent {
 public:
  explicit ModelDependent(std::shared_ptr<ModelState> model) : model_(std::move(model)) {}
  const std::shared_ptr<ModelState>& model() const { return model_; }

 private:
  std::shared_ptr<ModelState> model_;
};

/// Registers `state` with its model, throwing ErrorCode::disposed if that is gone, and returns a
/// handle of `handleClass` around it.
template <typename State>
Napi::Value wrapDependent(Napi::Env env, const Napi::FunctionReference& handleClass,
                          std::shared_ptr<State> state) {
  state->model()->addDependent(state);
  return handleClass.New({Napi::External<std::shared_ptr<State>>::New(env, &state)});
}

/// The state that wrapDependent passed to a handle's constructor.
template <typename State>
std::shared_ptr<State> dependentArgument(const Napi::CallbackInfo& info) {
  if (!info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "native handles cannot be constructed");
  }
  return *info[0].As<Napi::External<std::shared_ptr<State>>>().Data();
}

/// Frees the native object after what is queued on its model; Promise<undefined>.
inline Napi::Value disposeDependent(Napi::Env env, const std::shared_ptr<ModelDependent>& state) {
  if (state->model()->stopped()) return resolvedPromise(env);
  return runJob(
      env, state->model(),
      [state] {
        state->release();
        return Nothing{};
      },
      undefinedResult);
}

}  // namespace wgqa
