#include "addon/trainer_handle.h"

#include "addon/abort_flag.h"
#include "addon/arguments.h"
#include "addon/batch_arguments.h"
#include "addon/model_handle.h"

namespace wgqa {
namespace {

std::vector<TeacherForcedBatch> trainingViewsOf(std::span<const OwnedBatch> batches,
                                                const T5Config& config) {
  if (batches.empty()) throw invalidArgument("batch", "at least one micro-batch", "none");
  for (const OwnedBatch& batch : batches) {
    if (batch.labels.empty()) throw invalidArgument("labels", "given for training", "undefined");
  }
  return viewsOf(batches, config);
}

Napi::Array shapeToJs(Napi::Env env, const std::vector<std::int64_t>& shape) {
  Napi::Array array = Napi::Array::New(env);
  for (const std::int64_t size : shape) array.Set(array.Length(), static_cast<double>(size));
  return array;
}

struct NamedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  FloatResult data;
};

FloatResult copyOf(Ops& ops, const ConstTensorView& view) {
  FloatResult result = FloatResult::make(view.elements());
  ops.download(view, result.data());
  return result;
}

Napi::Value tensorsToJs(Napi::Env env, const std::vector<NamedTensor>& tensors) {
  Napi::Array list = Napi::Array::New(env);
  for (const NamedTensor& tensor : tensors) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", tensor.name);
    entry.Set("shape", shapeToJs(env, tensor.shape));
    if (tensor.data.memory) entry.Set("data", toFloat32Array(env, tensor.data));
    list.Set(list.Length(), entry);
  }
  return list;
}

Napi::Value stepToJs(Napi::Env env, const StepResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("loss", result.loss);
  if (result.distillationLoss) object.Set("distillationLoss", *result.distillationLoss);
  object.Set("gradNorm", result.gradNorm);
  object.Set("tokens", static_cast<double>(result.tokens));
  object.Set("seconds", result.seconds);
  object.Set("denseSeconds", result.denseSeconds);
  object.Set("attentionSeconds", result.attentionSeconds);
  object.Set("scratchBytes", static_cast<double>(result.scratchBytes));
  return object;
}

// The model that teaches, or null.
std::shared_ptr<ModelState> teacherArgument(const Napi::Value& options) {
  const Napi::Value distillation = options.As<Napi::Object>().Get("distillation");
  if (distillation.IsUndefined()) return nullptr;
  return modelArgument(distillation.As<Napi::Object>().Get("teacher"));
}

const OptimizerState& stateNamed(const Trainer& trainer, const std::string& name) {
  for (const OptimizerState& state : trainer.states()) {
    if (state.name == name) return state;
  }
  throw invalidArgument("name", "the name of an optimiser state tensor", "'" + name + "'");
}

}  // namespace

Trainer& TrainerState::trainer() {
  T5Model& t5 = model()->model();
  if (released_) {
    throw Error(ErrorCode::disposed, "the trainer was used after dispose()", "trainer");
  }
  if (!trainer_) {
    if (teacher_) options_.training.distillation.teacher = &teacher_->model();
    trainer_ = std::make_unique<Trainer>(t5, options_);
    trainer_->setStepCount(stepCount);
  }
  return *trainer_;
}

void TrainerState::release() {
  const std::lock_guard lock(mutex_);
  released_ = true;
  trainer_.reset();
}

Napi::Function TrainerHandle::define(Napi::Env env) {
  return DefineClass(
      env, "NativeTrainer",
      {InstanceMethod<&TrainerHandle::guarded<&TrainerHandle::step>>("step"),
       InstanceMethod<&TrainerHandle::guarded<&TrainerHandle::gradients>>("gradients"),
       InstanceMethod<&TrainerHandle::guarded<&TrainerHandle::stateTensors>>("stateTensors"),
       InstanceMethod<&TrainerHandle::guarded<&TrainerHandle::readState>>("readState"),
       InstanceMethod<&TrainerHandle::guarded<&TrainerHandle::writeState>>("writeState"),
       InstanceMethod<&TrainerHandle::guarded<&TrainerHandle::stepCount>>("stepCount"),
       InstanceMethod<&TrainerHandle::guarded<&TrainerHandle::setStepCount>>("setStepCount"),
       InstanceMethod<&TrainerHandle::guarded<&TrainerHandle::dispose>>("dispose")});
}

TrainerHandle::TrainerHandle(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TrainerHandle>(info), state_(dependentArgument<TrainerState>(info)) {}

Napi::Value TrainerHandle::step(const Napi::CallbackInfo& info) {
  return runJob(
      info.Env(), state_->model(),
      [state = state_, batches = batchListArgument(info[0]),
       learningRate = info[1].ToNumber().FloatValue(),
       abort = abortFlagArgument(info[2], *state_->model())] {
        return state->use([&](Trainer& trainer) {
          const auto views = trainingViewsOf(batches, state->model()->model().config());
          const StepResult result = trainer.step(views, learningRate, abort.get());
          state->stepCount = trainer.stepCount();
          return result;
        });
      },
      [](Napi::Env env, StepResult& result) { return stepToJs(env, result); });
}

Napi::Value TrainerHandle::gradients(const Napi::CallbackInfo& info) {
  return runJob(
      info.Env(), state_->model(),
      [state = state_, batches = batchListArgument(info[0]),
       abort = abortFlagArgument(info[1], *state_->model())] {
        return state->use([&](Trainer& trainer) {
          const auto views = trainingViewsOf(batches, state->model()->model().config());
          std::vector<NamedTensor> tensors;
          for (const auto& gradient : trainer.gradients(views, abort.get())) {
            tensors.push_back({gradient.parameter->name(), gradient.parameter->shape(),
                               copyOf(state->model()->model().ops(), gradient.grad)});
          }
          return tensors;
        });
      },
      [](Napi::Env env, std::vector<NamedTensor>& tensors) { return tensorsToJs(env, tensors); });
}

Napi::Value TrainerHandle::stateTensors(const Napi::CallbackInfo& info) {
  return runJob(
      info.Env(), state_->model(),
      [state = state_] {
        return state->use([](Trainer& trainer) {
          std::vector<NamedTensor> tensors;
          for (const OptimizerState& tensor : trainer.states()) {
            tensors.push_back({tensor.name, tensor.shape, {}});
          }
          return tensors;
        });
      },
      [](Napi::Env env, std::vector<NamedTensor>& tensors) { return tensorsToJs(env, tensors); });
}

Napi::Value TrainerHandle::readState(const Napi::CallbackInfo& info) {
  return runJob(
      info.Env(), state_->model(),
      [state = state_, name = info[0].ToString().Utf8Value()] {
        return state->use([&](Trainer& trainer) {
          return copyOf(state->model()->model().ops(), stateNamed(trainer, name).value);
        });
      },
      [](Napi::Env env, FloatResult& result) { return toFloat32Array(env, result); });
}

Napi::Value TrainerHandle::writeState(const Napi::CallbackInfo& info) {
  return runJob(
      info.Env(), state_->model(),
      [state = state_, name = info[0].ToString().Utf8Value(), data = floatsArgument(info[1])] {
        return state->use([&](Trainer& trainer) {
          const TensorView& value = stateNamed(trainer, name).value;
          if (static_cast<std::int64_t>(data.count) != value.elements()) {
            throw invalidArgument(name, std::to_string(value.elements()) + " numbers",
                                  std::to_string(data.count));
          }
          state->model()->model().ops().upload(data.data(), value);
          trainer.statesWritten();
          return Nothing{};
        });
      },
      undefinedResult);
}

Napi::Value TrainerHandle::stepCount(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(state_->stepCount.load()));
}

Napi::Value TrainerHandle::setStepCount(const Napi::CallbackInfo& info) {
  state_->stepCount = info[0].ToNumber().Int64Value();
  state_->model()->executor().post([state = state_, steps = state_->stepCount.load()] {
    try {
      state->use([&](Trainer& trainer) { trainer.setStepCount(steps); });
    } catch (const Error&) {
      // Whatever keeps the trainer from being made is reported by the next call that has a promise.
    }
  });
  return info.Env().Undefined();
}

Napi::Value TrainerHandle::dispose(const Napi::CallbackInfo& info) {
  return disposeDependent(info.Env(), state_);
}

Napi::Value createTrainer(const Napi::CallbackInfo& info) {
  auto state = std::make_shared<TrainerState>(modelArgument(info[0]), teacherArgument(info[1]),
                                              trainerArgument(info[1]));
  if (state->teacher()) state->teacher()->addDependent(state);
  return wrapDependent(info.Env(), Environment::of(info.Env()).trainerClass, std::move(state));
}

}  // namespace wgqa
