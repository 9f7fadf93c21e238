#include "decode/strategy.h"

#include <utility>

namespace wgqa {

std::unique_ptr<Strategy> makeStrategy(const GenerationRequest& request, TokenCallback onToken) {
  if (request.options.numBeams > 1) return makeBeamStrategy(request);
  return makeSamplingStrategy(request, std::move(onToken));
}

Error nonFiniteLogits() {
  return Error(ErrorCode::nonFinite, "the logits hold NaN or infinity, or allow no token at all",
               "logits");
}

}  // namespace wgqa
