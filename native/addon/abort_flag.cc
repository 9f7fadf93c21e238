#include "addon/abort_flag.h"

namespace wgqa {

Napi::Function AbortFlagHandle::define(Napi::Env env) {
  return DefineClass(env, "AbortFlag", {InstanceMethod<&AbortFlagHandle::abort>("abort")});
}

AbortFlagHandle::AbortFlagHandle(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<AbortFlagHandle>(info), flag_(std::make_shared<AbortFlag>(false)) {}

Napi::Value AbortFlagHandle::abort(const Napi::CallbackInfo& info) {
  flag_->store(true);
  return info.Env().Undefined();
}

SharedAbortFlag abortFlagArgument(const Napi::Value& value, ModelState& model) {
  SharedAbortFlag flag;
  if (value.IsObject()) {
    const auto object = value.As<Napi::Object>();
    if (!object.InstanceOf(Environment::of(value.Env()).abortFlagClass.Value())) {
      throw Napi::TypeError::New(value.Env(), "abort must be an AbortFlag");
    }
    flag = AbortFlagHandle::Unwrap(object)->flag();
  } else {
    flag = std::make_shared<AbortFlag>(false);
  }
  model.track(flag);
  return flag;
}

}  // namespace wgqa
