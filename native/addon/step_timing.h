// measureSteps of NativeBinding: how long decoding steps take in each compute type.
#pragma once

#include <napi.h>

namespace wgqa {

Napi::Value measureSteps(const Napi::CallbackInfo& info);

}  // namespace wgqa
