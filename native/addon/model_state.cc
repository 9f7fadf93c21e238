#include "addon/model_state.h"

#include <algorithm>
#include <utility>

namespace wgqa {

Error disposedError() {
  return {ErrorCode::disposed, "the model was used after dispose()", "model"};
}

T5Model& ModelState::model() {
  if (!model_) throw disposedError();
  return *model_;
}

void ModelState::setModel(std::unique_ptr<T5Model> model) {
  model_ = std::move(model);
  refreshDtypes();
}

void ModelState::addDependent(const std::shared_ptr<Dependent>& dependent) {
  const std::lock_guard lock(mutex_);
  if (released_) throw disposedError();
  std::erase_if(dependents_, [](const std::weak_ptr<Dependent>& d) { return d.expired(); });
  dependents_.push_back(dependent);
}

std::vector<std::weak_ptr<Dependent>> ModelState::dependents() const {
  const std::lock_guard lock(mutex_);
  return dependents_;
}

void ModelState::release() {
  {
    const std::lock_guard lock(mutex_);
    released_ = true;
  }
  for (const std::weak_ptr<Dependent>& known : dependents()) {
    if (const auto dependent = known.lock()) dependent->release();
  }
  model_.reset();
}

void ModelState::refreshDtypes() {
  if (!model_) return;
  const std::lock_guard lock(mutex_);
  dtypes_.clear();
  for (const auto& parameter : model_->parameters().all()) dtypes_.push_back(parameter->dtype());
}

std::vector<DType> ModelState::dtypes() const {
  const std::lock_guard lock(mutex_);
  return dtypes_;
}

void ModelState::track(const SharedAbortFlag& flag) {
  const std::lock_guard lock(mutex_);
  std::erase_if(flags_, [](const std::weak_ptr<AbortFlag>& known) { return known.expired(); });
  flags_.push_back(flag);
}

void ModelState::abortAll() {
  {
    const std::lock_guard lock(mutex_);
    for (const std::weak_ptr<AbortFlag>& known : flags_) {
      if (const auto flag = known.lock()) flag->store(true);
    }
  }
  for (const std::weak_ptr<Dependent>& known : dependents()) {
    if (const auto dependent = known.lock()) dependent->interrupt();
  }
}

}  // namespace wgqa
