// Generation requests from JavaScript.
#pragma once

#include <napi.h>

#include "decode/generation_request.h"

namespace wgqa {

/// NativeGenerationRequest without its stop strings.
GenerationRequest requestArgument(const Napi::Value& value);

}  // namespace wgqa
