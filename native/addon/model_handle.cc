#include "addon/model_handle.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "addon/abort_flag.h"
#include "addon/arguments.h"
#include "addon/batch_arguments.h"
#include "model/t5_calibration.h"
#include "model/t5_convert.h"
#include "model/t5_inference.h"

namespace wgqa {
namespace {

struct ForwardResult {
  FloatResult logits, encoderStates;
  TeacherForcedResult loss;
};

ForwardResult runForward(T5Model& model, const OwnedBatch& batch, bool wantLogits, bool wantStates,
                         const AbortFlag* abort) {
  batch.check(model.config());
  const T5Config& config = model.config();
  const auto encoderTokens = static_cast<std::int64_t>(batch.encoderIds.size());
  const auto decoderTokens = static_cast<std::int64_t>(batch.decoderIds.size());
  ForwardResult result;
  TensorView logits;
  TensorView states;
  if (wantLogits) {
    result.logits = FloatResult::make(decoderTokens * config.vocabSize);
    logits = {result.logits.data(), DType::float32, {decoderTokens, config.vocabSize}};
  }
  if (wantStates) {
    result.encoderStates = FloatResult::make(encoderTokens * config.dModel);
    states = {result.encoderStates.data(), DType::float32, {encoderTokens, config.dModel}};
  }
  result.loss = model.inference().teacherForced(batch.view(), logits, states, abort);
  return result;
}

Napi::Float64Array toFloat64Array(Napi::Env env, std::span<const double> values) {
  Napi::Float64Array array = Napi::Float64Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Value forwardToJs(Napi::Env env, const ForwardResult& result) {
  Napi::Object object = Napi::Object::New(env);
  if (result.logits.memory) object.Set("logits", toFloat32Array(env, result.logits));
  if (result.encoderStates.memory) {
    object.Set("encoderStates", toFloat32Array(env, result.encoderStates));
  }
  if (!result.loss.lossSums.empty()) {
    object.Set("lossSums", toFloat64Array(env, result.loss.lossSums));
  }
  return object;
}

// Without batches, nothing is calibrated.
std::unique_ptr<T5Model> calibrateAndConvert(T5Model& model, const ConvertOptions& options,
                                             std::span<const OwnedBatch> batches,
                                             const AbortFlag* abort) {
  std::optional<T5Calibration> calibration;
  if (!batches.empty()) calibration = calibrate(model, viewsOf(batches, model.config()), abort);
  return convertModel(model, options, model.ops().makeAnother(),
                      calibration ? &*calibration : nullptr, abort);
}

}  // namespace

Napi::Function ModelHandle::define(Napi::Env env) {
  return DefineClass(
      env, "NativeModel",
      {InstanceMethod<&ModelHandle::guarded<&ModelHandle::config>>("config"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::device>>("device"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::parameters>>("parameters"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::readParameter>>("readParameter"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::readParameterBytes>>(
           "readParameterBytes"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::writeParameter>>("writeParameter"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::convert>>("convert"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::fold>>("fold"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::forward>>("forward"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::memoryBytes>>("memoryBytes"),
       InstanceMethod<&ModelHandle::guarded<&ModelHandle::dispose>>("dispose")});
}

ModelHandle::ModelHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ModelHandle>(info) {
  if (!info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "NativeModel cannot be constructed");
  }
  state_ = *info[0].As<Napi::External<std::shared_ptr<ModelState>>>().Data();
  config_ = state_->model().config();
  device_ = state_->model().ops().name();
  for (const auto& parameter : state_->model().parameters().all()) {
    infos_.push_back({parameter->name(), parameter->shape()});
  }
}

Napi::Value wrapModel(Napi::Env env, const std::shared_ptr<ModelState>& state) {
  std::shared_ptr<ModelState> copy = state;
  return Environment::of(env).modelClass.New(
      {Napi::External<std::shared_ptr<ModelState>>::New(env, &copy)});
}

std::shared_ptr<ModelState> modelArgument(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  if (!value.IsObject() ||
      !value.As<Napi::Object>().InstanceOf(Environment::of(env).modelClass.Value())) {
    throw Napi::TypeError::New(env, "model must be a NativeModel");
  }
  return ModelHandle::Unwrap(value.As<Napi::Object>())->state();
}

Napi::Value ModelHandle::config(const Napi::CallbackInfo& info) {
  return configToJs(info.Env(), config_);
}

Napi::Value ModelHandle::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), device_);
}

Napi::Value ModelHandle::parameters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::vector<DType> dtypes = state_->dtypes();
  Napi::Array list = Napi::Array::New(env, infos_.size());
  for (std::size_t i = 0; i < infos_.size(); ++i) {
    Napi::Object entry = Napi::Object::New(env);
    Napi::Array shape = Napi::Array::New(env);
    for (const std::int64_t size : infos_[i].shape) {
      shape.Set(shape.Length(), static_cast<double>(size));
    }
    entry.Set("name", infos_[i].name);
    entry.Set("shape", shape);
    entry.Set("dtype", std::string(dtypeName(dtypes[i])));
    list.Set(static_cast<std::uint32_t>(i), entry);
  }
  return list;
}

Napi::Value ModelHandle::readParameter(const Napi::CallbackInfo& info) {
  return runJob(
      info.Env(), state_,
      [state = state_, name = info[0].ToString().Utf8Value()] {
        T5Model& model = state->model();
        const Parameter& parameter = model.parameters().at(name);
        FloatResult result = FloatResult::make(parameter.elements());
        parameter.copyTo(model.ops(), DType::float32, result.data());
        return result;
      },
      [](Napi::Env env, FloatResult& result) { return toFloat32Array(env, result); });
}

Napi::Value ModelHandle::readParameterBytes(const Napi::CallbackInfo& info) {
  struct Bytes {
    std::shared_ptr<Buffer> memory;
    std::size_t count;
  };
  return runJob(
      info.Env(), state_,
      [state = state_, name = info[0].ToString().Utf8Value(),
       dtypeText = info[1].ToString().Utf8Value()] {
        const DType dtype = dtypeFromName(dtypeText, "dtype");
        if (dtype == DType::int8 || dtype == DType::int32) {
          throw invalidArgument("dtype", "'float32' | 'float16' | 'bfloat16'", dtypeText);
        }
        T5Model& model = state->model();
        const Parameter& parameter = model.parameters().at(name);
        const std::size_t bytes = static_cast<std::size_t>(parameter.elements()) * bytesOf(dtype);
        auto memory = std::make_shared<Buffer>(bytes);
        parameter.copyTo(model.ops(), dtype, memory->as<void>());
        return Bytes{memory, bytes};
      },
      [](Napi::Env env, Bytes& bytes) { return toUint8Array(env, bytes.memory, bytes.count); });
}

Napi::Value ModelHandle::writeParameter(const Napi::CallbackInfo& info) {
  return runJob(
      info.Env(), state_,
      [state = state_, name = info[0].ToString().Utf8Value(), data = floatsArgument(info[1])] {
        T5Model& model = state->model();
        Parameter& parameter = model.parameter(name);
        if (static_cast<std::int64_t>(data.count) != parameter.elements()) {
          throw invalidArgument("data", std::to_string(parameter.elements()) + " numbers",
                                std::to_string(data.count));
        }
        const T5Model::ParameterUpdate update(model);
        model.ops().upload(data.data(), update.writable(parameter));
        model.ops().finish();  // before others read it
        return Nothing{};
      },
      undefinedResult);
}

Napi::Value ModelHandle::convert(const Napi::CallbackInfo& info) {
  auto converted = std::make_shared<ModelState>(state_->threads());
  Environment::of(info.Env()).adopt(converted);
  return runJob(
      info.Env(), state_,
      [state = state_, converted, options = convertArgument(info[0]),
       calibration = batchListArgument(info[1]), abort = abortFlagArgument(info[2], *state_)] {
        converted->setModel(calibrateAndConvert(state->model(), options, calibration, abort.get()));
        return Nothing{};
      },
      [converted](Napi::Env env, Nothing&) { return wrapModel(env, converted); });
}

Napi::Value ModelHandle::fold(const Napi::CallbackInfo& info) {
  auto folded = std::make_shared<ModelState>(state_->threads());
  Environment::of(info.Env()).adopt(folded);
  return runJob(
      info.Env(), state_,
      [state = state_, folded, abort = abortFlagArgument(info[0], *state_)] {
        T5Model& model = state->model();
        folded->setModel(foldModel(model, model.ops().makeAnother(), abort.get()));
        return Nothing{};
      },
      [folded](Napi::Env env, Nothing&) { return wrapModel(env, folded); });
}

Napi::Value ModelHandle::forward(const Napi::CallbackInfo& info) {
  const auto want = info[1].As<Napi::Object>();
  return runJob(
      info.Env(), state_,
      [state = state_, batch = batchArgument(info[0]), logits = booleanField(want, "logits"),
       states = booleanField(want, "encoderStates"), abort = abortFlagArgument(info[2], *state_)] {
        return runForward(state->model(), batch, logits, states, abort.get());
      },
      [](Napi::Env env, ForwardResult& result) { return forwardToJs(env, result); });
}

Napi::Value ModelHandle::memoryBytes(const Napi::CallbackInfo& info) {
  struct Bytes {
    std::int64_t parameters = 0;
    std::int64_t packed = 0;
  };
  return runJob(
      info.Env(), state_,
      [state = state_] {
        Bytes bytes;
        for (const auto& parameter : state->model().parameters().all()) {
          bytes.parameters += parameter->ownedBytes();
        }
        bytes.packed = state->model().packedBytes();
        return bytes;
      },
      [](Napi::Env env, Bytes& bytes) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("parameters", static_cast<double>(bytes.parameters));
        object.Set("packed", static_cast<double>(bytes.packed));
        return object;
      });
}

Napi::Value ModelHandle::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (state_->stopped()) return resolvedPromise(env);
  return runJob(
      env, state_,
      [state = state_] {
        state->release();
        return Nothing{};
      },
      [state = state_](Napi::Env current, Nothing& nothing) {
        state->stop();
        return undefinedResult(current, nothing);
      });
}

}  // namespace wgqa
