// Which requests an engine takes: decided before any work on them.
#pragma once

#include <cstdint>

#include "decode/generation_request.h"
#include "decode/kv_cache.h"

namespace wgqa {

/// Throws ErrorCode::invalidArgument for a bad field, and ErrorCode::outOfMemory with the field and
/// its limit for a request that could not even run alone: a source (`inputIds`) or a length
/// (`maxNewTokens`) beyond the whole cache.
void checkRequest(const GenerationRequest& request, const KvCache& cache, std::int64_t vocabSize,
                  std::int64_t maxBatchSize);

}  // namespace wgqa
