#include "model/parameter_rewrite.h"

#include <utility>

namespace wgqa {

void ParameterRewrite::replace(Parameter parameter) {
  std::string name = parameter.name();
  changed_.insert_or_assign(std::move(name), std::move(parameter));
}

void ParameterRewrite::addAfter(const std::string& base, Parameter parameter) {
  added_[base].push_back(std::move(parameter));
}

ParameterSet ParameterRewrite::apply(const ParameterSet& source) const {
  ParameterSet result;
  for (const auto& parameter : source.all()) {
    const std::string& name = parameter->name();
    if (removed_.contains(name)) continue;
    const auto changed = changed_.find(name);
    result.add(changed == changed_.end() ? *parameter : changed->second);
    const auto added = added_.find(name);
    if (added == added_.end()) continue;
    for (const Parameter& extra : added->second) result.add(extra);
  }
  return result;
}

}  // namespace wgqa
