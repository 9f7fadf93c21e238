// How long decoding steps of a T5 take in each compute type: what the choice of a type rests on.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/t5_config.h"
#include "ops/ops.h"

namespace wgqa {

/// A compute type and that of the K/V cache with it.
struct StepTypes {
  DType compute = DType::float32;
  DType cache = DType::float32;
};

struct StepTimingOptions {
  std::int64_t rows = 1;          // of a step, each a sequence of its own
  std::int64_t sourceTokens = 1;  // that each row attends to
  std::int64_t targetTokens = 1;  // that each row holds, the step's own included
  std::int64_t minRounds = 3;
  std::int64_t maxRounds = 25;
  double seconds = 0.3;  // after which no round starts, once there were minRounds
};

/// Seconds of a step of a model of this shape with made-up weights, for each of `types` one per
/// round; none where the backend has no such type. The types take turns, so that what else the
/// machine does meets them alike, and each finds the caches as the others left them: a model that
/// is larger than the caches finds none of its weights there, either. Throws
/// ErrorCode::outOfMemory.
std::vector<std::vector<double>> timeDecodeSteps(
    const T5Config& config, std::span<const StepTypes> types, const StepTimingOptions& options,
    const std::function<std::unique_ptr<Ops>()>& makeOps);

}  // namespace wgqa
