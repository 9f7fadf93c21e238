#include "addon/environment.h"

#include <algorithm>
#include <utility>

namespace wgqa {

Environment::Environment(Napi::Env env) {
  channel_ = Channel::New(env, "wgqa", 0, 1);
  channel_.Unref(env);
  // Hooks run last added first: this one runs while the channel above still accepts callbacks.
  napi_add_env_cleanup_hook(
      env, [](void* self) { static_cast<Environment*>(self)->close(); }, this);
}

void Environment::callJs(Napi::Env env, Napi::Function, std::nullptr_t*, Callback* data) {
  const std::unique_ptr<Callback> callback(data);
  if (env == nullptr) return;
  const Napi::HandleScope scope(env);
  try {
    (*callback)(env);
  } catch (const Napi::Error&) {
    // A JavaScript callback threw, or the environment is ending: neither may end the process.
  }
}

void Environment::deliver(std::function<void(Napi::Env)> callback) {
  auto owned = std::make_unique<Callback>(std::move(callback));
  if (channel_.NonBlockingCall(owned.get()) == napi_ok) owned.release();
}

void Environment::jobStarted(Napi::Env env) {
  if (jobs_++ == 0) channel_.Ref(env);
}

void Environment::jobEnded(Napi::Env env) {
  if (--jobs_ == 0) channel_.Unref(env);
}

void Environment::adopt(const std::shared_ptr<ModelState>& model) {
  std::erase_if(models_, [](const std::weak_ptr<ModelState>& known) { return known.expired(); });
  models_.push_back(model);
  if (closed_) model->stop();
}

void Environment::close() {
  closed_ = true;
  for (const std::weak_ptr<ModelState>& known : models_) {
    if (const auto model = known.lock()) model->abortAll();
  }
  for (const std::weak_ptr<ModelState>& known : models_) {
    if (const auto model = known.lock()) model->stop();
  }
}

}  // namespace wgqa
