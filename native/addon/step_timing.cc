#include "addon/step_timing.h"

#include <memory>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/job.h"
#include "model/step_timing.h"

namespace wgqa {
namespace {

std::vector<StepTypes> typesArgument(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<StepTypes> types;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    const auto object = array.Get(i).As<Napi::Object>();
    types.push_back({dtypeFromName(stringField(object, "dtype"), "dtype"),
                     dtypeFromName(stringField(object, "cacheDtype"), "cacheDtype")});
  }
  return types;
}

std::int64_t positiveField(const Napi::Object& object, const char* name) {
  const std::int64_t value = integerField(object, name);
  if (value < 1) throw Error(ErrorCode::invalidArgument, "a step needs more", name, ">= 1");
  return value;
}

}  // namespace

Napi::Value measureSteps(const Napi::CallbackInfo& info) {
  const T5Config config = configArgument(info[0]);
  std::vector<StepTypes> types = typesArgument(info[1]);
  const auto object = info[2].As<Napi::Object>();
  const StepTimingOptions options{.rows = positiveField(object, "rows"),
                                  .sourceTokens = positiveField(object, "sourceTokens"),
                                  .targetTokens = positiveField(object, "targetTokens"),
                                  .seconds = numberField(object, "seconds")};
  auto state = std::make_shared<ModelState>(static_cast<int>(integerField(object, "threads")));
  Environment::of(info.Env()).adopt(state);
  // Ends the thread on the event loop, with or without a result: it cannot join itself.
  const std::shared_ptr<void> stopped(nullptr, [state](void*) { state->stop(); });
  return runJob(
      info.Env(), state,
      [config, types = std::move(types), options] {
        return timeDecodeSteps(config, types, options, makeCpuOps);
      },
      [stopped](Napi::Env env, const std::vector<std::vector<double>>& all) {
        Napi::Array result = Napi::Array::New(env);
        for (const std::vector<double>& seconds : all) {
          Napi::Array rounds = Napi::Array::New(env);
          for (const double one : seconds) rounds.Set(rounds.Length(), one);
          result.Set(result.Length(), rounds);
        }
        return result;
      });
}

}  // namespace wgqa
