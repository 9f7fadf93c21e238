#include "decode/request_check.h"

#include <string>

#include "base/error.h"

namespace wgqa {
namespace {

const char* sequencesField(const GenerationOptions& options) {
  return options.numBeams > 1 ? "numBeams" : "numReturnSequences";
}

Error tooLarge(const std::string& field, std::int64_t most, const char* unit, std::int64_t actual,
               const KvCache& cache) {
  const std::string limit = "at most " + std::to_string(most) + unit;
  return Error(ErrorCode::outOfMemory,
               field + ": " + std::to_string(actual) + " does not fit the cache of " +
                   std::to_string(cache.maxBytes()) + " bytes, which holds " + limit,
               field, limit);
}

void checkCacheHolds(const GenerationRequest& request, const KvCache& cache) {
  const std::int64_t sequences = request.options.sequences();
  const BlockStorage& self = cache.self();
  const BlockStorage& cross = cache.cross();
  // With one block per sequence, what is left for the source?
  const std::int64_t crossBytes = cache.maxBytes() - sequences * self.blockBytes();
  if (crossBytes < cross.blockBytes()) {
    const std::int64_t most = (cache.maxBytes() - cross.blockBytes()) / self.blockBytes();
    throw tooLarge(sequencesField(request.options), most, "", sequences, cache);
  }
  const auto length = static_cast<std::int64_t>(request.inputIds.size());
  const std::int64_t sourceBlocks = crossBytes / cross.blockBytes();
  if (cross.blocksFor(length) > sourceBlocks) {
    throw tooLarge("inputIds", sourceBlocks * cross.blockTokens(), " tokens", length, cache);
  }
  const std::int64_t selfBytes = cache.maxBytes() - cross.blocksFor(length) * cross.blockBytes();
  const std::int64_t selfBlocks = selfBytes / (sequences * self.blockBytes());
  // The last token is never fed, the start token is: a sequence holds as many as these.
  const auto prefix = static_cast<std::int64_t>(request.forcedPrefix.size());
  const std::int64_t most = selfBlocks * self.blockTokens() - prefix;
  if (most < 1) {
    throw tooLarge("decoderInputIds", most + prefix - 1, " tokens", prefix, cache);
  }
  if (request.options.maxNewTokens > most) {
    throw tooLarge("maxNewTokens", most, "", request.options.maxNewTokens, cache);
  }
}

}  // namespace

void checkRequest(const GenerationRequest& request, const KvCache& cache, std::int64_t vocabSize,
                  std::int64_t maxBatchSize) {
  request.validate(vocabSize);
  if (request.options.sequences() > maxBatchSize) {
    throw invalidArgument(sequencesField(request.options),
                          "at most maxBatchSize (" + std::to_string(maxBatchSize) + ")",
                          std::to_string(request.options.sequences()));
  }
  checkCacheHolds(request, cache);
}

}  // namespace wgqa
