#include "decode/source_encoder.h"

#include "base/error.h"

namespace wgqa {
namespace {

std::int64_t sourceTokens(const ActiveRequest& request) {
  return static_cast<std::int64_t>(request.ticket().request->inputIds.size());
}

}  // namespace

void SourceEncoder::encode(Requests requests) {
  while (!requests.empty()) {
    const Requests chunk = requests.first(chunkSize(requests));
    requests = requests.subspan(chunk.size());
    try {
      encodeChunk(chunk);
    } catch (const Error& error) {
      for (const auto& request : chunk) request->ticket().result->error = error;
    }
    // A very long source must not leave its memory behind.
    const std::int64_t usual = maxTokens_ * model_.stateSize() * std::int64_t{sizeof(float)};
    if (static_cast<std::int64_t>(states_.bytes()) > usual) states_.clear();
  }
}

std::size_t SourceEncoder::chunkSize(Requests requests) const {
  std::size_t size = 1;
  std::int64_t tokens = sourceTokens(*requests[0]);
  while (size < requests.size() && tokens + sourceTokens(*requests[size]) <= maxTokens_) {
    tokens += sourceTokens(*requests[size++]);
  }
  return size;
}

void SourceEncoder::encodeChunk(Requests requests) {
  ids_.clear();
  offsets_.assign(1, 0);
  slots_.clear();
  for (const auto& request : requests) {
    const auto& inputIds = request->ticket().request->inputIds;
    ids_.insert(ids_.end(), inputIds.begin(), inputIds.end());
    offsets_.push_back(static_cast<std::int32_t>(ids_.size()));
    for (std::size_t i = 0; i < inputIds.size(); ++i) {
      slots_.push_back(request->crossTable().append().slot);
    }
  }
  const auto tokens = static_cast<std::int64_t>(ids_.size());
  states_.reserve(static_cast<std::size_t>(tokens * model_.stateSize()) * sizeof(float));
  const TensorView states(states_.as<void>(), DType::float32, {tokens, model_.stateSize()});
  model_.encode(ids_, RaggedOffsets{offsets_}, states);
  cache_.enforceBudget();
  model_.appendCross({.encoderStates = states, .slots = slots_, .cache = cache_.cross().layers()});
}

}  // namespace wgqa
