// The JavaScript face of an abort flag: set on the event loop, read by native work.
#pragma once

#include <napi.h>

#include "addon/environment.h"

namespace wgqa {

class AbortFlagHandle : public Napi::ObjectWrap<AbortFlagHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit AbortFlagHandle(const Napi::CallbackInfo& info);

  const SharedAbortFlag& flag() const { return flag_; }

 private:
  Napi::Value abort(const Napi::CallbackInfo& info);

  SharedAbortFlag flag_;
};

/// The flag of an AbortFlag argument, or a new one for undefined; aborted with `model` when the
/// environment ends.
SharedAbortFlag abortFlagArgument(const Napi::Value& value, ModelState& model);

}  // namespace wgqa
