// measureRead and measureProducts of NativeBinding: what the machine can do.
#pragma once

#include <napi.h>

namespace wgqa {

Napi::Value measureRead(const Napi::CallbackInfo& info);
Napi::Value measureProducts(const Napi::CallbackInfo& info);

}  // namespace wgqa
