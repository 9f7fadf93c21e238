#include "addon/load_model.h"

#include <cstring>
#include <unordered_map>
#include <utility>

#include "addon/abort_flag.h"
#include "addon/arguments.h"
#include "addon/choose_device.h"
#include "addon/model_handle.h"
#include "base/mapped_file.h"

namespace wgqa {
namespace {

// Starts the model's own thread and runs `make` on it.
// `keep` lives until the promise has settled.
template <typename Make>
Napi::Value makeModel(Napi::Env env, std::shared_ptr<ModelState> state, Make make,
                      std::shared_ptr<Napi::FunctionReference> keep = nullptr) {
  Environment::of(env).adopt(state);
  return runJob(
      env, state,
      [state, make = std::move(make)] {
        state->setModel(make());
        return Nothing{};
      },
      [state, keep](Napi::Env current, Nothing&) { return wrapModel(current, state); });
}

struct TensorSource {
  std::string name, file;
  std::vector<std::int64_t> shape;
  DType dtype = DType::float32;
  std::size_t offset = 0, bytes = 0;
};

TensorSource sourceArgument(const Napi::Object& object) {
  TensorSource source;
  source.name = stringField(object, "name");
  source.file = stringField(object, "file");
  source.dtype = dtypeFromName(stringField(object, "dtype"), source.name);
  source.offset = static_cast<std::size_t>(integerField(object, "offset"));
  source.bytes = static_cast<std::size_t>(integerField(object, "bytes"));
  const auto shape = object.Get("shape").As<Napi::Array>();
  for (std::uint32_t i = 0; i < shape.Length(); ++i) {
    source.shape.push_back(shape.Get(i).ToNumber().Int64Value());
  }
  return source;
}

std::vector<TensorSource> sourcesArgument(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<TensorSource> sources;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    sources.push_back(sourceArgument(array.Get(i).As<Napi::Object>()));
  }
  return sources;
}

void checkSource(const TensorSource& source, std::size_t fileBytes) {
  std::size_t bytes = bytesOf(source.dtype);
  bool fits = source.shape.size() >= 1 && source.shape.size() <= 3;
  for (const std::int64_t size : source.shape) {
    fits = fits && size > 0 && bytes <= fileBytes / static_cast<std::size_t>(size);
    if (fits) bytes *= static_cast<std::size_t>(size);
  }
  if (fits && bytes == source.bytes && source.bytes <= fileBytes &&
      source.offset <= fileBytes - source.bytes) {
    return;
  }
  throw Error(ErrorCode::invalidFile,
              "tensor " + source.name + " does not lie inside " + source.file, source.name);
}

// Borrows the mapped bytes; copies them only where the file does not align the tensor.
Parameter parameterOf(const TensorSource& source, const std::shared_ptr<const MappedFile>& file) {
  checkSource(source, file->bytes());
  const std::byte* data = file->data() + source.offset;
  if (reinterpret_cast<std::uintptr_t>(data) % bytesOf(source.dtype) == 0) {
    return {source.name, source.shape, source.dtype, file, data};
  }
  auto copy = std::make_shared<Buffer>(source.bytes);
  std::memcpy(copy->as<void>(), data, source.bytes);
  const void* aligned = copy->as<void>();
  return {source.name, source.shape, source.dtype, std::move(copy), aligned};
}

using Progress = std::function<void(std::size_t)>;

ParameterSet mapParameters(const std::vector<TensorSource>& sources, const AbortFlag* abort,
                           const Progress& progress) {
  std::unordered_map<std::string, std::shared_ptr<const MappedFile>> files;
  ParameterSet parameters;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    throwIfAborted(abort);
    const TensorSource& source = sources[i];
    std::shared_ptr<const MappedFile>& file = files[source.file];
    if (!file) file = std::make_shared<const MappedFile>(source.file);
    parameters.add(parameterOf(source, file));
    progress(i + 1);
  }
  return parameters;
}

// Reports tensors done of all to a JavaScript function, if one was given.
Progress progressTo(Napi::Env env, Napi::FunctionReference* callback, std::size_t total) {
  if (callback == nullptr) return [](std::size_t) {};
  Environment* environment = &Environment::of(env);
  return [environment, callback, total](std::size_t done) {
    environment->deliver([callback, done, total](Napi::Env current) {
      callback->Call({Napi::Number::New(current, static_cast<double>(done)),
                      Napi::Number::New(current, static_cast<double>(total))});
    });
  };
}

}  // namespace

Napi::Value createModel(const Napi::CallbackInfo& info) {
  const T5Config config = configArgument(info[0]);
  const auto seed = static_cast<std::uint64_t>(info[1].ToNumber().Int64Value());
  const auto options = info[2].As<Napi::Object>();
  const DType dtype = dtypeFromName(stringField(options, "dtype"), "dtype");
  const std::string device = stringField(options, "device");
  return makeModel(info.Env(),
                   std::make_shared<ModelState>(static_cast<int>(integerField(options, "threads"))),
                   [config, seed, dtype, device] {
                     auto ops = makeOpsFor(device, {dtype, config.dKv});
                     return std::make_unique<T5Model>(config, initialT5Parameters(config, seed),
                                                      std::move(ops), dtype);
                   });
}

Napi::Value loadModel(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const T5Config config = configArgument(info[0]);
  auto sources = sourcesArgument(info[1]);
  const auto options = info[2].As<Napi::Object>();
  const DType dtype = dtypeFromName(stringField(options, "dtype"), "dtype");
  const std::string device = stringField(options, "device");
  auto state = std::make_shared<ModelState>(static_cast<int>(integerField(options, "threads")));
  const SharedAbortFlag abort = abortFlagArgument(info[3], *state);
  std::shared_ptr<Napi::FunctionReference> onProgress;
  if (info[4].IsFunction()) {
    onProgress =
        std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[4].As<Napi::Function>()));
  }
  Progress progress = progressTo(env, onProgress.get(), sources.size());
  return makeModel(
      env, state,
      [config, dtype, device, abort, sources = std::move(sources), progress = std::move(progress)] {
        auto ops = makeOpsFor(device, {dtype, config.dKv});
        return std::make_unique<T5Model>(config, mapParameters(sources, abort.get(), progress),
                                         std::move(ops), dtype);
      },
      onProgress);
}

Napi::Value resolveDevice(const Napi::CallbackInfo& info) {
  const std::string device = info[0].ToString().Utf8Value();
  const DType dtype = dtypeFromName(info[1].ToString().Utf8Value(), "dtype");
  const std::int64_t headDim = info[2].ToNumber().Int64Value();
  auto state = std::make_shared<ModelState>(1);
  Environment::of(info.Env()).adopt(state);
  // Ends the thread on the event loop, with or without a result: it cannot join itself.
  const std::shared_ptr<void> stopped(nullptr, [state](void*) { state->stop(); });
  return runJob(
      info.Env(), state,
      [device, dtype, headDim] {
        return std::string(makeOpsFor(device, {dtype, headDim})->name());
      },
      [stopped](Napi::Env env, const std::string& name) { return Napi::String::New(env, name); });
}

}  // namespace wgqa
