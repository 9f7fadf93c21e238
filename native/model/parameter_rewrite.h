// A copy of a set of parameters, in its order, with some replaced, added after others, or left out.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>

#include "model/parameters.h"

namespace wgqa {

class ParameterRewrite {
 public:
  void replace(Parameter parameter);
  /// Behind `base`, and behind what was added there before.
  void addAfter(const std::string& base, Parameter parameter);
  void remove(const std::string& name) { removed_.insert(name); }

  /// Unchanged parameters share their memory with those of `source`.
  ParameterSet apply(const ParameterSet& source) const;

 private:
  std::unordered_map<std::string, Parameter> changed_;
  std::unordered_map<std::string, std::vector<Parameter>> added_;
  std::unordered_set<std::string> removed_;
};

}  // namespace wgqa
