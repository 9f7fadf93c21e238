// NativeModel of src/native.ts.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "addon/job.h"

namespace wgqa {

class ModelHandle : public Napi::ObjectWrap<ModelHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Called with an External of the state: models are made by createModel, loadModel and convert.
  explicit ModelHandle(const Napi::CallbackInfo& info);

  const std::shared_ptr<ModelState>& state() const { return state_; }

 private:
  using Method = Napi::Value (ModelHandle::*)(const Napi::CallbackInfo&);
  template <Method method>
  Napi::Value guarded(const Napi::CallbackInfo& info) {
    return guardErrors(info.Env(), [&] { return (this->*method)(info); });
  }
  Napi::Value config(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value parameters(const Napi::CallbackInfo& info);
  Napi::Value readParameter(const Napi::CallbackInfo& info);
  Napi::Value readParameterBytes(const Napi::CallbackInfo& info);
  Napi::Value writeParameter(const Napi::CallbackInfo& info);
  Napi::Value convert(const Napi::CallbackInfo& info);
  Napi::Value fold(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value memoryBytes(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<ModelState> state_;
  T5Config config_;
  std::string device_;
  struct Info {
    std::string name;
    std::vector<std::int64_t> shape;
  };
  std::vector<Info> infos_;
};

/// A new handle of a state whose model exists and which no other thread uses yet.
Napi::Value wrapModel(Napi::Env env, const std::shared_ptr<ModelState>& state);

/// The state behind a NativeModel argument; throws TypeError for anything else.
std::shared_ptr<ModelState> modelArgument(const Napi::Value& value);

}  // namespace wgqa
