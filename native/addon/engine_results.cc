#include "addon/engine_results.h"

#include <algorithm>
#include <span>

#include "addon/job.h"

namespace wgqa {
namespace {

Napi::Float32Array floatsToJs(Napi::Env env, std::span<const float> values) {
  Napi::Float32Array array = Napi::Float32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Int32Array idsToJs(Napi::Env env, std::span<const std::int32_t> ids) {
  Napi::Int32Array array = Napi::Int32Array::New(env, ids.size());
  std::copy(ids.begin(), ids.end(), array.Data());
  return array;
}

const char* nameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::time:
      return "time";
    case FinishReason::blocked:
      return "blocked";
  }
  return "";
}

/// The alternatives of several tokens, one after another.
void setAlternatives(Napi::Env env, Napi::Object& object,
                     std::span<const ScoredToken> alternatives) {
  Napi::Int32Array tokens = Napi::Int32Array::New(env, alternatives.size());
  Napi::Float32Array logProbs = Napi::Float32Array::New(env, alternatives.size());
  for (std::size_t i = 0; i < alternatives.size(); ++i) {
    tokens.Data()[i] = alternatives[i].token;
    logProbs.Data()[i] = alternatives[i].score;
  }
  object.Set("topTokenIds", tokens);
  object.Set("topLogProbs", logProbs);
}

/// One array per field instead of one object per token.
Napi::Object tokensToJs(Napi::Env env, const std::vector<TokenEvent>& events) {
  const std::size_t count = events.size();
  Napi::Float64Array requests = Napi::Float64Array::New(env, count);
  Napi::Int32Array sequences = Napi::Int32Array::New(env, count);
  Napi::Int32Array tokens = Napi::Int32Array::New(env, count);
  Napi::Float32Array logProbs = Napi::Float32Array::New(env, count);
  Napi::Int32Array alternativeCounts = Napi::Int32Array::New(env, count);
  std::vector<ScoredToken> alternatives;
  for (std::size_t i = 0; i < count; ++i) {
    const GeneratedToken& generated = events[i].generated;
    requests.Data()[i] = static_cast<double>(events[i].request);
    sequences.Data()[i] = generated.sequence;
    tokens.Data()[i] = generated.token;
    logProbs.Data()[i] = generated.logProb;
    alternatives.insert(alternatives.end(), generated.alternatives.begin(),
                        generated.alternatives.end());
    alternativeCounts.Data()[i] = static_cast<std::int32_t>(generated.alternatives.size());
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("requests", requests);
  object.Set("sequences", sequences);
  object.Set("tokenIds", tokens);
  object.Set("logProbs", logProbs);
  object.Set("alternativeCounts", alternativeCounts);
  setAlternatives(env, object, alternatives);
  return object;
}

Napi::Object logitsToJs(Napi::Env env, const LogitsEvent& event) {
  Napi::Array histories = Napi::Array::New(env, event.histories.size());
  for (std::size_t row = 0; row < event.histories.size(); ++row) {
    histories.Set(static_cast<std::uint32_t>(row), idsToJs(env, event.histories[row]));
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("request", static_cast<double>(event.request));
  object.Set("histories", histories);
  object.Set("logits", floatsToJs(env, event.logits));
  return object;
}

Napi::Object sequenceToJs(Napi::Env env, const GeneratedSequence& sequence) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("tokenIds", idsToJs(env, sequence.tokenIds));
  if (sequence.score) object.Set("score", *sequence.score);
  if (!sequence.logProbs.empty()) object.Set("logProbs", floatsToJs(env, sequence.logProbs));
  if (!sequence.alternatives.empty()) setAlternatives(env, object, sequence.alternatives);
  object.Set("finishReason", nameOf(sequence.finishReason));
  return object;
}

Napi::Object finishToJs(Napi::Env env, const FinishEvent& event) {
  const GenerationResult& result = event.result;
  Napi::Object object = Napi::Object::New(env);
  const auto number = [&](const char* name, double value) { object.Set(name, value); };
  number("request", static_cast<double>(event.request));
  number("queueMilliseconds", result.queueMilliseconds);
  number("firstTokenMilliseconds", result.firstTokenMilliseconds);
  number("totalMilliseconds", result.totalMilliseconds);
  number("cachedPromptTokens", static_cast<double>(result.cachedPromptTokens));
  number("preemptions", static_cast<double>(result.preemptions));
  if (result.error) {
    object.Set("error", toJsError(env, *result.error).Value());
    return object;
  }
  Napi::Array sequences = Napi::Array::New(env, result.sequences.size());
  for (std::size_t i = 0; i < result.sequences.size(); ++i) {
    sequences.Set(static_cast<std::uint32_t>(i), sequenceToJs(env, result.sequences[i]));
  }
  object.Set("sequences", sequences);
  return object;
}

template <typename Event>
Napi::Array listToJs(Napi::Env env, const std::vector<Event>& events,
                     Napi::Object (*toJs)(Napi::Env, const Event&)) {
  Napi::Array list = Napi::Array::New(env, events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Napi::HandleScope scope(env);
    list.Set(static_cast<std::uint32_t>(i), toJs(env, events[i]));
  }
  return list;
}

Napi::Object blocksToJs(Napi::Env env, const BlockCounts& counts) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("free", static_cast<double>(counts.free));
  object.Set("cached", static_cast<double>(counts.cached));
  object.Set("referenced", static_cast<double>(counts.referenced));
  object.Set("bytesPerBlock", static_cast<double>(counts.bytesPerBlock));
  return object;
}

Napi::Object percentilesToJs(Napi::Env env, const Percentiles& values) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("p50", values.p50);
  object.Set("p90", values.p90);
  object.Set("p99", values.p99);
  object.Set("max", values.max);
  return object;
}

}  // namespace

Napi::Object eventsToJs(Napi::Env env, const EngineEvents& events) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("tokens", tokensToJs(env, events.tokens));
  object.Set("logits", listToJs(env, events.logits, logitsToJs));
  object.Set("finished", listToJs(env, events.finished, finishToJs));
  return object;
}

Napi::Object statsToJs(Napi::Env env, const EngineStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  const auto number = [&](const char* name, auto value) {
    object.Set(name, static_cast<double>(value));
  };
  number("queued", stats.queued);
  number("encoding", stats.encoding);
  number("running", stats.running);
  number("held", stats.held);
  number("completed", stats.completed);
  number("aborted", stats.aborted);
  number("failed", stats.failed);
  number("preemptions", stats.preemptions);
  number("cacheBytes", stats.cacheBytes);
  number("maxCacheBytes", stats.maxCacheBytes);
  number("selfBytesPerToken", stats.selfBytesPerToken);
  number("crossBytesPerToken", stats.crossBytesPerToken);
  object.Set("selfBlocks", blocksToJs(env, stats.selfBlocks));
  object.Set("crossBlocks", blocksToJs(env, stats.crossBlocks));
  number("prefixTokens", stats.prefixTokens);
  number("prefixHits", stats.prefixHits);
  number("sources", stats.sources);
  number("sourceHits", stats.sourceHits);
  number("encodedTokens", stats.encodedTokens);
  number("decodeSteps", stats.decodeSteps);
  number("decodedRows", stats.decodedRows);
  number("generatedTokens", stats.generatedTokens);
  number("encodeSeconds", stats.encodeSeconds);
  number("decodeSeconds", stats.decodeSeconds);
  number("tokensPerSecond", stats.tokensPerSecond);
  object.Set("stepMilliseconds", percentilesToJs(env, stats.stepMilliseconds));
  object.Set("firstTokenMilliseconds", percentilesToJs(env, stats.firstTokenMilliseconds));
  number("decodeWeightBytes", stats.decodeWeightBytes);
  return object;
}

}  // namespace wgqa
