// What one JavaScript environment (the main thread or a worker) keeps: the way back to its event
// loop, its classes, and the models to stop when it ends.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "addon/model_state.h"

namespace wgqa {

class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment() = default;
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  /// Runs `callback` on the event loop; callable from any thread. Dropped once the environment
  /// ends.
  void deliver(std::function<void(Napi::Env)> callback);

  /// Between these two calls, both on the event loop, the process stays alive.
  void jobStarted(Napi::Env env);
  void jobEnded(Napi::Env env);

  /// Models are stopped when the environment closes; one that comes later, at once.
  void adopt(const std::shared_ptr<ModelState>& model);

  /// Aborts the jobs of all models and waits for their threads: before a process takes down the
  /// libraries that these compute with. Idempotent; what is asked for later is refused.
  void close();

  Napi::FunctionReference abortFlagClass;
  Napi::FunctionReference modelClass;
  Napi::FunctionReference trainerClass;
  Napi::FunctionReference engineClass;

 private:
  using Callback = std::function<void(Napi::Env)>;
  static void callJs(Napi::Env env, Napi::Function, std::nullptr_t*, Callback* data);
  using Channel = Napi::TypedThreadSafeFunction<std::nullptr_t, Callback, callJs>;

  Channel channel_;
  int jobs_ = 0;
  bool closed_ = false;
  std::vector<std::weak_ptr<ModelState>> models_;
};

}  // namespace wgqa
