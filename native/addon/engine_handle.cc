#include "addon/engine_handle.h"

#include <iterator>
#include <span>
#include <utility>

#include "addon/arguments.h"
#include "addon/engine_results.h"
#include "addon/model_handle.h"
#include "addon/request_arguments.h"
#include "ops/ops.h"

namespace wgqa {
namespace {

Error closedError() { return {ErrorCode::disposed, "the engine was used after close()", "engine"}; }

template <typename Event>
void append(std::vector<Event>& to, std::vector<Event>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

RequestId idOf(const Napi::Value& value) {
  return static_cast<RequestId>(value.ToNumber().Int64Value());
}

TextKind textKindOf(bool keepsSpecialTokens) {
  return keepsSpecialTokens ? TextKind::all : TextKind::plain;
}

template <typename Array>
auto viewOf(const Napi::Value& value, napi_typedarray_type type, const char* expected) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw Napi::TypeError::New(value.Env(), expected);
  }
  const auto array = value.As<Array>();
  return std::span(array.Data(), array.ElementLength());
}

/// Joins the engine's thread on one of libuv's: neither the event loop nor a training step on the
/// model's executor is in the way.
class CloseWorker final : public Napi::AsyncWorker {
 public:
  CloseWorker(Napi::Env env, std::shared_ptr<EngineState> state)
      : Napi::AsyncWorker(env),
        state_(std::move(state)),
        deferred_(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { state_->stop(); }
  void OnOK() override { deferred_.Resolve(Env().Undefined()); }

 private:
  std::shared_ptr<EngineState> state_;
  Napi::Promise::Deferred deferred_;
};

}  // namespace

// ---------------------------------------------------------------------------- the state

EngineState::EngineState(Environment& environment, std::shared_ptr<ModelState> model,
                         const EngineOptions& options, int threads)
    : ModelDependent(std::move(model)),
      environment_(environment),
      // Whoever frees the model stops its dependents before, so the engine's thread finds it.
      engine_(
          [owner = this->model().get()] {
            T5Model& model = owner->model();
            return model.makeEncoderDecoder(model.ops().makeAnother());
          },
          options, threads > 0 ? threads : this->model()->threads(),
          [this](EngineEvents&& events) { take(std::move(events)); }) {}

void EngineState::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  engine_.stop();
}

void EngineState::submit(EngineHandle& handle, RequestId id, GenerationRequest request) {
  {
    // A request that the engine does not take before it stops would never end.
    const std::lock_guard lock(mutex_);
    if (stopped_) throw closedError();
    engine_.submit(id, std::move(request));
  }
  unfinished_.insert(id);
  if (handle_ == nullptr) {
    handle_ = &handle;
    handle.Ref();
  }
  stayAlive(handle.Env());
}

void EngineState::setPaused(Napi::Env env, RequestId id, bool paused) {
  engine_.setPaused(id, paused);
  if (!unfinished_.contains(id)) return;
  if (paused) {
    paused_.insert(id);
  } else {
    paused_.erase(id);
  }
  stayAlive(env);
}

/// The process waits for requests, but not for those that wait for the process to read on.
void EngineState::stayAlive(Napi::Env env) {
  const bool isWanted = unfinished_.size() > paused_.size();
  if (isWanted == isAlive_) return;
  isAlive_ = isWanted;
  if (isWanted) {
    environment_.jobStarted(env);
  } else {
    environment_.jobEnded(env);
  }
}

StopStrings EngineState::stopStrings(const std::vector<std::string>& strings, TextKind text) const {
  if (strings.empty()) return {};
  const auto& pieces = pieces_[static_cast<std::size_t>(text)];
  if (!pieces) throw invalidArgument("stop", "absent without token pieces", "given");
  return {strings, pieces};
}

/// On the engine's thread.
void EngineState::take(EngineEvents&& events) {
  bool isUnderWay = false;
  {
    const std::lock_guard lock(mutex_);
    isUnderWay = !undelivered_.empty();
    append(undelivered_.tokens, std::move(events.tokens));
    append(undelivered_.logits, std::move(events.logits));
    append(undelivered_.finished, std::move(events.finished));
  }
  if (isUnderWay) return;
  // Weak: a delivery that is dropped must not be what destroys the engine, on its own thread.
  environment_.deliver([weak = weak_from_this()](Napi::Env env) {
    if (const auto state = weak.lock()) state->deliver(env);
  });
}

void EngineState::deliver(Napi::Env env) {
  EngineEvents events;
  {
    const std::lock_guard lock(mutex_);
    std::swap(events, undelivered_);
  }
  if (handle_ == nullptr) return;
  const Napi::Function listener = handle_->listener();
  requestsEnded(env, events.finished);
  listener.Call({eventsToJs(env, events)});
}

void EngineState::requestsEnded(Napi::Env env, const std::vector<FinishEvent>& events) {
  for (const FinishEvent& event : events) {
    unfinished_.erase(event.request);
    paused_.erase(event.request);
  }
  stayAlive(env);
  if (unfinished_.empty() && !events.empty()) std::exchange(handle_, nullptr)->Unref();
}

// ---------------------------------------------------------------------------- the handle

Napi::Function EngineHandle::define(Napi::Env env) {
  return DefineClass(
      env, "NativeEngine",
      {InstanceMethod<&EngineHandle::guarded<&EngineHandle::submit>>("submit"),
       InstanceMethod<&EngineHandle::guarded<&EngineHandle::abort>>("abort"),
       InstanceMethod<&EngineHandle::guarded<&EngineHandle::setPaused>>("setPaused"),
       InstanceMethod<&EngineHandle::guarded<&EngineHandle::answerLogits>>("answerLogits"),
       InstanceMethod<&EngineHandle::guarded<&EngineHandle::setTokenPieces>>("setTokenPieces"),
       InstanceMethod<&EngineHandle::guarded<&EngineHandle::stats>>("stats"),
       InstanceMethod<&EngineHandle::guarded<&EngineHandle::close>>("close")});
}

EngineHandle::EngineHandle(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<EngineHandle>(info), state_(dependentArgument<EngineState>(info)) {}

Napi::Function EngineHandle::listener() const {
  return Value().Get("onEvents").As<Napi::Function>();
}

Napi::Value EngineHandle::submit(const Napi::CallbackInfo& info) {
  const auto object = info[1].As<Napi::Object>();
  GenerationRequest request = requestArgument(object);
  request.stops = state_->stopStrings(stringsField(object, "stop"),
                                      textKindOf(object.Get("keepsSpecialTokens").ToBoolean()));
  state_->submit(*this, idOf(info[0]), std::move(request));
  return info.Env().Undefined();
}

Napi::Value EngineHandle::abort(const Napi::CallbackInfo& info) {
  state_->engine().abort(idOf(info[0]));
  return info.Env().Undefined();
}

Napi::Value EngineHandle::setPaused(const Napi::CallbackInfo& info) {
  state_->setPaused(info.Env(), idOf(info[0]), info[1].ToBoolean());
  return info.Env().Undefined();
}

Napi::Value EngineHandle::answerLogits(const Napi::CallbackInfo& info) {
  const auto logits =
      viewOf<Napi::Float32Array>(info[1], napi_float32_array, "logits must be a Float32Array");
  state_->engine().answerLogits(idOf(info[0]), {logits.begin(), logits.end()});
  return info.Env().Undefined();
}

Napi::Value EngineHandle::setTokenPieces(const Napi::CallbackInfo& info) {
  const auto bytes =
      viewOf<Napi::Uint8Array>(info[0], napi_uint8_array, "bytes must be a Uint8Array");
  const auto offsets =
      viewOf<Napi::Uint32Array>(info[1], napi_uint32_array, "offsets must be a Uint32Array");
  state_->setTokenPieces(
      textKindOf(info[3].ToBoolean()),
      std::make_shared<const TokenPieces>(
          std::string(bytes.begin(), bytes.end()),
          std::vector<std::uint32_t>(offsets.begin(), offsets.end()), info[2].ToBoolean()));
  return info.Env().Undefined();
}

Napi::Value EngineHandle::stats(const Napi::CallbackInfo& info) {
  return statsToJs(info.Env(), state_->engine().stats());
}

Napi::Value EngineHandle::close(const Napi::CallbackInfo& info) {
  auto* worker = new CloseWorker(info.Env(), state_);
  worker->Queue();
  return worker->promise();
}

Napi::Value createEngine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[2].IsFunction()) throw Napi::TypeError::New(env, "onEvents must be a function");
  const auto options = info[1].As<Napi::Object>();
  Environment& environment = Environment::of(env);
  const Napi::Value handle = wrapDependent(
      env, environment.engineClass,
      std::make_shared<EngineState>(environment, modelArgument(info[0]), engineArgument(options),
                                    static_cast<int>(integerField(options, "threads"))));
  handle.As<Napi::Object>().Set("onEvents", info[2]);
  return handle;
}

}  // namespace wgqa
