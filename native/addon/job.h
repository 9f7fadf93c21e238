// Native work behind a promise: runs on a model's executor, settles on the event loop.
#pragma once

#include <napi.h>

#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "addon/environment.h"
#include "base/buffer.h"

namespace wgqa {

/// An Error with `code`, `field` and `allowed`, which src/native.ts turns into a WgqaError.
Napi::Error toJsError(Napi::Env env, const Error& error);

/// Runs work() on the executor and settles the promise with toJs(env, result) or its error.
/// Whatever JavaScript references a job needs must be captured by toJs: it alone is destroyed on
/// the event loop, after everything that `work` delivered.
template <typename Work, typename ToJs>
Napi::Promise runJob(Napi::Env env, const std::shared_ptr<ModelState>& model, Work work,
                     ToJs toJs) {
  using Result = std::invoke_result_t<Work&>;
  struct Outcome {
    std::optional<Result> result;
    std::optional<Error> error;
  };
  const auto deferred = Napi::Promise::Deferred::New(env);
  auto settle = std::make_shared<ToJs>(std::move(toJs));
  auto callback = std::make_shared<std::function<void(Napi::Env, Outcome&)>>(
      [deferred, settle](Napi::Env current, Outcome& outcome) {
        Environment::of(current).jobEnded(current);
        if (outcome.error) return deferred.Reject(toJsError(current, *outcome.error).Value());
        try {
          deferred.Resolve((*settle)(current, *outcome.result));
        } catch (const Napi::Error& error) {
          deferred.Reject(error.Value());
        }
      });
  settle.reset();
  Environment& environment = Environment::of(env);
  environment.jobStarted(env);
  auto task = [&environment, model = model, work = std::move(work),
               callback = std::move(callback)]() mutable {
    auto outcome = std::make_shared<Outcome>();
    try {
      outcome->result.emplace(work());
    } catch (...) {
      outcome->error = currentError();
    }
    model->refreshDtypes();
    // The last owner of a model must not let go of it here, on the model's own thread.
    environment.deliver(
        [outcome, model = std::move(model), work = std::move(work),
         callback = std::move(callback)](Napi::Env current) { (*callback)(current, *outcome); });
  };
  if (!model->executor().post(std::move(task))) {
    environment.jobEnded(env);
    deferred.Reject(toJsError(env, disposedError()).Value());
  }
  return deferred.Promise();
}

/// Runs call() on the event loop, turning native exceptions into JavaScript ones.
template <typename Call>
Napi::Value guardErrors(Napi::Env env, const Call& call) {
  try {
    return call();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw toJsError(env, currentError());
  }
}

/// Promise<undefined>, already settled.
Napi::Value resolvedPromise(Napi::Env env);

/// Stands for "nothing" as the result of a job.
struct Nothing {};
inline Napi::Value undefinedResult(Napi::Env env, Nothing&) { return env.Undefined(); }

/// float32 values made by a job, handed to JavaScript without a copy; or those that a job is given.
struct FloatResult {
  std::shared_ptr<Buffer> memory;
  std::size_t count = 0;

  static FloatResult make(std::int64_t count);
  float* data() const { return memory->as<float>(); }
};
Napi::Value toFloat32Array(Napi::Env env, const FloatResult& result);

/// A Float32Array argument as it is during the call: its buffer is the caller's, who may change,
/// shrink or transfer it before a job's turn comes. Throws TypeError for anything else.
FloatResult floatsArgument(const Napi::Value& value);
Napi::Value toUint8Array(Napi::Env env, const std::shared_ptr<Buffer>& memory, std::size_t bytes);

}  // namespace wgqa
