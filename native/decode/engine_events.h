// What the engine tells its owner, a step at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/generation_request.h"
#include "decode/strategy.h"

namespace wgqa {

struct TokenEvent {
  RequestId request = 0;
  GeneratedToken generated;
};

/// Logits of a request that processes them; it waits until it is answered.
struct LogitsEvent {
  RequestId request = 0;
  std::vector<std::vector<std::int32_t>> histories;  // [rows] tokens without the start token
  std::vector<float> logits;                         // [rows, vocab]
};

/// The last event of a request.
struct FinishEvent {
  RequestId request = 0;
  GenerationResult result;
};

/// In the order in which they count: a request's tokens come before its end.
struct EngineEvents {
  std::vector<TokenEvent> tokens;
  std::vector<LogitsEvent> logits;
  std::vector<FinishEvent> finished;

  bool empty() const { return tokens.empty() && logits.empty() && finished.empty(); }
};

}  // namespace wgqa
