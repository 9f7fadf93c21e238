// JavaScript values to native ones. The TypeScript layer has validated them; what is checked here
// keeps a mistake there from becoming a crash: wrong types throw TypeError, sizes and ids throw
// wgqa::Error.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "decode/scheduler.h"
#include "model/t5_convert.h"
#include "train/trainer.h"

namespace wgqa {

std::int64_t integerField(const Napi::Object& object, const char* name);
double numberField(const Napi::Object& object, const char* name);
bool booleanField(const Napi::Object& object, const char* name);
std::string stringField(const Napi::Object& object, const char* name);
/// An array of strings.
std::vector<std::string> stringsField(const Napi::Object& object, const char* name);
/// An Int32Array.
std::vector<std::int32_t> idsOf(const Napi::Value& value, const char* name);
/// Throws the TypeError that `name` must be what is expected.
[[noreturn]] void wrongType(const Napi::Env& env, const char* name, const char* expected);
Napi::Object objectOf(const Napi::Value& value, const char* name);

T5Config configArgument(const Napi::Value& value);
Napi::Object configToJs(Napi::Env env, const T5Config& config);
ConvertOptions convertArgument(const Napi::Value& value);
/// Without the model that teaches.
TrainerOptions trainerArgument(const Napi::Value& value);
EngineOptions engineArgument(const Napi::Value& value);

}  // namespace wgqa
