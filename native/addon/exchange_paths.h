// exchangePaths of NativeBinding: two directories change places.
#pragma once

#include <napi.h>

namespace wgqa {

Napi::Value exchangePaths(const Napi::CallbackInfo& info);

}  // namespace wgqa
