#include "addon/decoder_handle.h"

#include "addon/abort_flag.h"
#include "addon/arguments.h"
#include "addon/model_handle.h"

namespace wgqa {
namespace {

// What a run needs to keep alive on the event loop until it has settled.
struct RunReferences {
  std::vector<std::unique_ptr<Napi::FunctionReference>> callbacks;
};

std::function<void(std::int32_t)> tokenCallback(Napi::Env env, Napi::FunctionReference* callback) {
  Environment* environment = &Environment::of(env);
  return [environment, callback](std::int32_t token) {
    environment->deliver([callback, token](Napi::Env current) {
      callback->Call({Napi::Number::New(current, token)});
    });
  };
}

struct OwnedRequests {
  std::vector<GenerationRequest> requests;
  std::vector<SharedAbortFlag> flags;
};

OwnedRequests requestsArgument(const Napi::CallbackInfo& info, ModelState& model,
                               RunReferences& references) {
  if (!info[0].IsArray()) throw Napi::TypeError::New(info.Env(), "requests must be an array");
  const auto array = info[0].As<Napi::Array>();
  OwnedRequests owned;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    const auto object = array.Get(i).As<Napi::Object>();
    GenerationRequest request;
    request.inputIds = idsOf(object.Get("inputIds"), "inputIds");
    request.options = generationArgument(object.Get("options"));
    owned.flags.push_back(abortFlagArgument(object.Get("abort"), model));
    request.abort = owned.flags.back().get();
    if (object.Get("onToken").IsFunction()) {
      references.callbacks.push_back(std::make_unique<Napi::FunctionReference>(
          Napi::Persistent(object.Get("onToken").As<Napi::Function>())));
      request.onToken = tokenCallback(info.Env(), references.callbacks.back().get());
    }
    owned.requests.push_back(std::move(request));
  }
  return owned;
}

Napi::Object sequenceToJs(Napi::Env env, const GeneratedSequence& sequence) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Int32Array ids = Napi::Int32Array::New(env, sequence.tokenIds.size());
  std::copy(sequence.tokenIds.begin(), sequence.tokenIds.end(), ids.Data());
  object.Set("tokenIds", ids);
  if (sequence.score) object.Set("score", *sequence.score);
  if (!sequence.logProbs.empty()) {
    Napi::Float32Array logProbs = Napi::Float32Array::New(env, sequence.logProbs.size());
    std::copy(sequence.logProbs.begin(), sequence.logProbs.end(), logProbs.Data());
    object.Set("logProbs", logProbs);
  }
  object.Set("finishReason", sequence.finishReason == FinishReason::stop ? "stop" : "length");
  return object;
}

Napi::Value resultsToJs(Napi::Env env, const std::vector<GenerationResult>& results) {
  Napi::Array list = Napi::Array::New(env);
  for (const GenerationResult& result : results) {
    Napi::Object entry = Napi::Object::New(env);
    if (result.error) {
      entry.Set("error", toJsError(env, *result.error).Value());
    } else {
      Napi::Array sequences = Napi::Array::New(env);
      for (const GeneratedSequence& sequence : result.sequences) {
        sequences.Set(sequences.Length(), sequenceToJs(env, sequence));
      }
      entry.Set("sequences", sequences);
    }
    list.Set(list.Length(), entry);
  }
  return list;
}

}  // namespace

Decoder& DecoderState::decoder() {
  T5Model& t5 = model()->model();
  if (released_) {
    throw Error(ErrorCode::disposed, "the engine was used after close()", "engine");
  }
  if (!decoder_) {
    auto made = std::make_shared<Decoder>(t5.encoderDecoder(), options_);
    const std::lock_guard lock(mutex_);
    decoder_ = std::move(made);
  }
  return *decoder_;
}

void DecoderState::release() {
  released_ = true;
  const std::lock_guard lock(mutex_);
  decoder_.reset();
}

DecoderStats DecoderState::stats() const {
  const std::lock_guard lock(mutex_);
  return decoder_ ? decoder_->stats() : DecoderStats{};
}

Napi::Function DecoderHandle::define(Napi::Env env) {
  return DefineClass(env, "NativeDecoder",
                     {InstanceMethod<&DecoderHandle::guarded<&DecoderHandle::run>>("run"),
                      InstanceMethod<&DecoderHandle::guarded<&DecoderHandle::stats>>("stats"),
                      InstanceMethod<&DecoderHandle::guarded<&DecoderHandle::dispose>>("dispose")});
}

DecoderHandle::DecoderHandle(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<DecoderHandle>(info), state_(dependentArgument<DecoderState>(info)) {}

Napi::Value DecoderHandle::run(const Napi::CallbackInfo& info) {
  auto references = std::make_shared<RunReferences>();
  auto owned =
      std::make_shared<OwnedRequests>(requestsArgument(info, *state_->model(), *references));
  return runJob(
      info.Env(), state_->model(),
      [state = state_, owned] { return state->decoder().run(owned->requests); },
      [references](Napi::Env env, std::vector<GenerationResult>& results) {
        return resultsToJs(env, results);
      });
}

Napi::Value DecoderHandle::stats(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const DecoderStats stats = state_->stats();
  Napi::Object object = Napi::Object::New(env);
  const auto number = [&](const char* name, double value) { object.Set(name, value); };
  number("cacheBytes", static_cast<double>(stats.cacheBytes));
  Napi::Object perToken = Napi::Object::New(env);
  perToken.Set("selfAttention", static_cast<double>(stats.selfBytesPerToken));
  perToken.Set("crossAttention", static_cast<double>(stats.crossBytesPerToken));
  object.Set("cacheBytesPerToken", perToken);
  number("blocksTotal", static_cast<double>(stats.blocksTotal));
  number("blocksFree", static_cast<double>(stats.blocksFree));
  number("decodeSteps", static_cast<double>(stats.decodeSteps));
  number("generatedTokens", static_cast<double>(stats.generatedTokens));
  number("decodeSeconds", stats.decodeSeconds);
  number("encodeSeconds", stats.encodeSeconds);
  number("decodeWeightBytes", static_cast<double>(stats.decodeWeightBytes));
  return object;
}

Napi::Value DecoderHandle::dispose(const Napi::CallbackInfo& info) {
  return disposeDependent(info.Env(), state_);
}

Napi::Value createDecoder(const Napi::CallbackInfo& info) {
  return wrapDependent(
      info.Env(), Environment::of(info.Env()).decoderClass,
      std::make_shared<DecoderState>(modelArgument(info[0]), decoderArgument(info[1])));
}

}  // namespace wgqa
