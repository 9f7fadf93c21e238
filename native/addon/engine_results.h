// What an engine tells, as src/native.ts describes it.
#pragma once

#include <napi.h>

#include "decode/engine_events.h"
#include "decode/engine_stats.h"

namespace wgqa {

/// NativeEngineEvents.
Napi::Object eventsToJs(Napi::Env env, const EngineEvents& events);

/// NativeEngineStats.
Napi::Object statsToJs(Napi::Env env, const EngineStats& stats);

}  // namespace wgqa
