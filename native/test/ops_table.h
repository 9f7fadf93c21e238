// The table of operations: cases that any backend runs and that are compared with the reference.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "test/ops_tensors.h"

namespace wgqa::test {

/// One call of one operation: makes its tensors in `tensors` and runs it on `ops`.
struct OpCase {
  std::string name;
  std::function<void(Ops& ops, CaseTensors& tensors)> run;
  ComputeNeeds needs;  // a backend that declines them is not asked to run the case
  double slack = 1.0;  // multiplies the tolerances of toleranceOf(); 0 asks for exact values
  /// Errors are measured against at least this magnitude: for results that are small differences
  /// of numbers that are not.
  double magnitude = 0.0;
};

/// Everything tested about one operation.
struct OpRow {
  std::string op;
  bool sameBitsForAnyThreads = false;
  std::vector<OpCase> cases;
  std::function<OpCase(Random&)> randomCase;
};

std::vector<OpRow> embeddingRows();
std::vector<OpRow> normRows();
std::vector<OpRow> denseRows();
std::vector<OpRow> elementwiseRows();
std::vector<OpRow> prefillRows();
std::vector<OpRow> pagedRows();
std::vector<OpRow> tokenRows();
std::vector<OpRow> mergeRows();
std::vector<OpRow> mergeConstraintRows();
std::vector<OpRow> lossRows();
std::vector<OpRow> optimiserRows();

}  // namespace wgqa::test
