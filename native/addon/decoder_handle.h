// NativeDecoder of src/native.ts.
#pragma once

#include <napi.h>

#include "addon/dependent.h"
#include "decode/decoder.h"

namespace wgqa {

/// A decoder over a model.
class DecoderState : public ModelDependent {
 public:
  DecoderState(std::shared_ptr<ModelState> model, const DecoderOptions& options)
      : ModelDependent(std::move(model)), options_(options) {}

  /// On the executor's thread. Throws ErrorCode::disposed.
  Decoder& decoder();
  void release() override;
  /// Any thread; zeros before the first run.
  DecoderStats stats() const;

 private:
  DecoderOptions options_;
  mutable std::mutex mutex_;  // guards the pointer, which stats() reads from the event loop
  std::shared_ptr<Decoder> decoder_;
  bool released_ = false;
};

class DecoderHandle : public Napi::ObjectWrap<DecoderHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Called with an External of the state: made by createDecoder.
  explicit DecoderHandle(const Napi::CallbackInfo& info);

 private:
  using Method = Napi::Value (DecoderHandle::*)(const Napi::CallbackInfo&);
  template <Method method>
  Napi::Value guarded(const Napi::CallbackInfo& info) {
    return guardErrors(info.Env(), [&] { return (this->*method)(info); });
  }
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<DecoderState> state_;
};

/// createDecoder of NativeBinding.
Napi::Value createDecoder(const Napi::CallbackInfo& info);

}  // namespace wgqa
