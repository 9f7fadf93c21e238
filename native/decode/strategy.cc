#include "decode/strategy.h"

namespace wgqa {

std::unique_ptr<Strategy> makeStrategy(const GenerationRequest& request) {
  if (request.options.numBeams > 1) return makeBeamStrategy(request.options);
  return makeSamplingStrategy(request.options, request.onToken);
}

Error nonFiniteLogits() {
  return Error(ErrorCode::nonFinite, "the model's logits hold NaN or infinity", "logits");
}

}  // namespace wgqa
