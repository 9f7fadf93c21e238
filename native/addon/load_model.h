// createModel and loadModel of NativeBinding (src/native.ts).
#pragma once

#include <napi.h>

namespace wgqa {

/// (config, seed, options) => Promise<NativeModel>
Napi::Value createModel(const Napi::CallbackInfo& info);

/// (config, tensors, options, abort, onProgress) => Promise<NativeModel>; maps files, copies
/// nothing.
Napi::Value loadModel(const Napi::CallbackInfo& info);
Napi::Value resolveDevice(const Napi::CallbackInfo& info);

}  // namespace wgqa
