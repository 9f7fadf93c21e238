// NativeEngine of src/native.ts.
#pragma once

#include <napi.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "addon/dependent.h"
#include "decode/engine.h"

namespace wgqa {

class EngineHandle;

/// The text of tokens in which stop strings are looked for: without special tokens, or with them.
enum class TextKind : std::uint8_t { plain, all };

/// An engine over a model, and its way back to the event loop: what it tells waits here until the
/// loop has time for it, at most one delivery under way.
class EngineState : public ModelDependent, public std::enable_shared_from_this<EngineState> {
 public:
  /// `threads`: 0 for the model's number.
  EngineState(Environment& environment, std::shared_ptr<ModelState> model,
              const EngineOptions& options, int threads);

  /// Any thread: fails what is unfinished with ErrorCode::disposed and waits for the engine's
  /// thread. Idempotent.
  void stop();
  void release() override { stop(); }
  void interrupt() override { stop(); }

  // On the event loop.

  /// Throws ErrorCode::disposed once the engine has stopped. Until the request's end was delivered,
  /// `handle` and the process stay alive.
  void submit(EngineHandle& handle, RequestId id, GenerationRequest request);
  Engine& engine() { return engine_; }
  /// A paused request does not keep the process alive: it waits for a reader.
  void setPaused(Napi::Env env, RequestId id, bool paused);
  /// Throws ErrorCode::invalidArgument if there are strings but no pieces of that text.
  StopStrings stopStrings(const std::vector<std::string>& strings, TextKind text) const;
  void setTokenPieces(TextKind text, std::shared_ptr<const TokenPieces> pieces) {
    pieces_[static_cast<std::size_t>(text)] = std::move(pieces);
  }

 private:
  void take(EngineEvents&& events);
  void deliver(Napi::Env env);
  void requestsEnded(Napi::Env env, const std::vector<FinishEvent>& events);
  void stayAlive(Napi::Env env);

  Environment& environment_;
  std::array<std::shared_ptr<const TokenPieces>, 2> pieces_;  // by TextKind
  EngineHandle* handle_ = nullptr;                            // while requests are unfinished
  std::unordered_set<RequestId> unfinished_;
  std::unordered_set<RequestId> paused_;  // of the unfinished ones
  bool isAlive_ = false;                  // the process waits for this engine

  std::mutex mutex_;
  bool stopped_ = false;
  EngineEvents undelivered_;

  Engine engine_;  // last: its thread uses the rest
};

class EngineHandle : public Napi::ObjectWrap<EngineHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Called with an External of the state: made by createEngine.
  explicit EngineHandle(const Napi::CallbackInfo& info);

  /// What is told of the events; kept by the handle, so that both can be collected together.
  Napi::Function listener() const;

 private:
  using Method = Napi::Value (EngineHandle::*)(const Napi::CallbackInfo&);
  template <Method method>
  Napi::Value guarded(const Napi::CallbackInfo& info) {
    return guardErrors(info.Env(), [&] { return (this->*method)(info); });
  }
  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);
  Napi::Value setPaused(const Napi::CallbackInfo& info);
  Napi::Value answerLogits(const Napi::CallbackInfo& info);
  Napi::Value setTokenPieces(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<EngineState> state_;
};

/// createEngine of NativeBinding.
Napi::Value createEngine(const Napi::CallbackInfo& info);

}  // namespace wgqa
