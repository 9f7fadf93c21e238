// The export table: NativeBinding of src/native.ts.
#include <napi.h>

#include <memory>

#include "addon/abort_flag.h"
#include "addon/engine_handle.h"
#include "addon/environment.h"
#include "addon/job.h"
#include "addon/limits.h"
#include "addon/load_model.h"
#include "addon/model_handle.h"
#include "addon/step_timing.h"
#include "addon/trainer_handle.h"
#include "limits/read_limit.h"
#include "ops/cpu/cpu_info.h"

namespace wgqa {
namespace {

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  return guardErrors(info.Env(), [&] { return function(info); });
}

Napi::Value cpu(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CpuInfo description = cpuInfo();
  Napi::Array instructionSets = Napi::Array::New(env);
  for (const std::string& name : description.instructionSets) {
    instructionSets.Set(instructionSets.Length(), name);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("threads", description.threads);
  object.Set("processor", description.processor);
  object.Set("isa", description.isa);
  object.Set("instructionSets", instructionSets);
  object.Set("bfloat16", description.bfloat16);
  object.Set("lastLevelCacheBytes", static_cast<double>(lastLevelCacheBytes()));
  return object;
}

Napi::FunctionReference persistent(const Napi::Function& function) {
  Napi::FunctionReference reference = Napi::Persistent(function);
  reference.SuppressDestruct();
  return reference;
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto owned = std::make_unique<Environment>(env);
  Environment& environment = *owned;
  env.SetInstanceData(owned.release());
  environment.abortFlagClass = persistent(AbortFlagHandle::define(env));
  environment.modelClass = persistent(ModelHandle::define(env));
  environment.trainerClass = persistent(TrainerHandle::define(env));
  environment.engineClass = persistent(EngineHandle::define(env));
  exports.Set("version", WGQA_VERSION);
  exports.Set("cpu", Napi::Function::New<guarded<cpu>>(env));
  exports.Set("AbortFlag", environment.abortFlagClass.Value());
  exports.Set("loadModel", Napi::Function::New<guarded<loadModel>>(env));
  exports.Set("createModel", Napi::Function::New<guarded<createModel>>(env));
  exports.Set("resolveDevice", Napi::Function::New<guarded<resolveDevice>>(env));
  exports.Set("createTrainer", Napi::Function::New<guarded<createTrainer>>(env));
  exports.Set("createEngine", Napi::Function::New<guarded<createEngine>>(env));
  exports.Set("measureRead", Napi::Function::New<guarded<measureRead>>(env));
  exports.Set("measureProducts", Napi::Function::New<guarded<measureProducts>>(env));
  exports.Set("measureSteps", Napi::Function::New<guarded<measureSteps>>(env));
  return exports;
}

Napi::Object initialiseAddon(Napi::Env env, Napi::Object exports) {
  return initialise(env, exports);
}

}  // namespace
}  // namespace wgqa

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  return wgqa::initialiseAddon(env, exports);
}

NODE_API_MODULE(wgqa, init)
