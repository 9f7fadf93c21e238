#include "addon/job.h"

#include <cstring>

namespace wgqa {
namespace {

// ArrayBuffers own a reference to the native memory and drop it when collected.
Napi::ArrayBuffer shareMemory(Napi::Env env, const std::shared_ptr<Buffer>& memory,
                              std::size_t bytes) {
  if (bytes == 0) return Napi::ArrayBuffer::New(env, 0);
  auto* keeper = new std::shared_ptr<Buffer>(memory);
  return Napi::ArrayBuffer::New(
      env, memory->as<void>(), bytes,
      [](Napi::Env, void*, std::shared_ptr<Buffer>* kept) { delete kept; }, keeper);
}

}  // namespace

Napi::Error toJsError(Napi::Env env, const Error& error) {
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", Napi::String::New(env, errorCodeName(error.code())));
  result.Set("field", Napi::String::New(env, error.field()));
  result.Set("allowed", Napi::String::New(env, error.allowed()));
  return result;
}

Napi::Value resolvedPromise(Napi::Env env) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Resolve(env.Undefined());
  return deferred.Promise();
}

FloatResult FloatResult::make(std::int64_t count) {
  const auto size = static_cast<std::size_t>(count);
  return {std::make_shared<Buffer>(size * sizeof(float)), size};
}

Napi::Value toFloat32Array(Napi::Env env, const FloatResult& result) {
  const std::size_t bytes = result.count * sizeof(float);
  return Napi::Float32Array::New(env, result.count, shareMemory(env, result.memory, bytes), 0);
}

FloatResult floatsArgument(const Napi::Value& value) {
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    throw Napi::TypeError::New(value.Env(), "data must be a Float32Array");
  }
  const auto array = value.As<Napi::Float32Array>();
  const std::size_t count = array.ElementLength();
  FloatResult copy = FloatResult::make(static_cast<std::int64_t>(count));
  if (count > 0) std::memcpy(copy.data(), array.Data(), count * sizeof(float));
  return copy;
}

Napi::Value toUint8Array(Napi::Env env, const std::shared_ptr<Buffer>& memory, std::size_t bytes) {
  return Napi::Uint8Array::New(env, bytes, shareMemory(env, memory, bytes), 0);
}

}  // namespace wgqa
