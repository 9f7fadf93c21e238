#include "addon/model_state.h"

#include <algorithm>
#include <utility>

namespace wgqa {

T5Model& ModelState::model() {
  if (!model_) throw Error(ErrorCode::disposed, "the model was used after dispose()", "model");
  return *model_;
}

void ModelState::setModel(std::unique_ptr<T5Model> model) {
  model_ = std::move(model);
  refreshDtypes();
}

void ModelState::addDependent(const std::shared_ptr<Dependent>& dependent) {
  std::erase_if(dependents_, [](const std::weak_ptr<Dependent>& d) { return d.expired(); });
  dependents_.push_back(dependent);
}

void ModelState::release() {
  for (const std::weak_ptr<Dependent>& known : dependents_) {
    if (const auto dependent = known.lock()) dependent->release();
  }
  dependents_.clear();
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
  const std::lock_guard lock(mutex_);
  for (const std::weak_ptr<AbortFlag>& known : flags_) {
    if (const auto flag = known.lock()) flag->store(true);
  }
}

}  // namespace wgqa
