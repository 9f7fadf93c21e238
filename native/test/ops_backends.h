// The backends that a test program runs the table of operations on: each program has its own list.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/ops.h"

namespace wgqa::test {

struct Backend {
  std::string name;
  std::function<std::unique_ptr<Ops>()> make;
  int randomCases = 0;  // of each operation
  /// Whether it may compute otherwise with two of the host's threads than with one.
  bool dependsOnThreads = true;
  std::string onlyOps = {};  // those whose names begin so
  /// Sets up what the backend runs under, for as long as the result lives.
  std::function<std::shared_ptr<void>()> enter = [] { return nullptr; };
};

std::vector<Backend> backends();

}  // namespace wgqa::test
