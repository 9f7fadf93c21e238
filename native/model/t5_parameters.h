// The parameter tree of T5: every tensor's Hugging Face name, shape and role, declared once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/abort_flag.h"
#include "model/parameters.h"
#include "model/t5_config.h"

namespace wgqa {

/// A declared tensor and the standard deviation of its random initial values.
struct DeclaredParameter {
  std::string name;
  std::vector<std::int64_t> shape;
  /// Normal draws of this standard deviation; 0 for norms and merge weights, set to `constant`.
  float initialStd = 0.0f;
  float constant = 0.0f;
};

/// All tensors of a model of this architecture, in the order they are stored.
std::vector<DeclaredParameter> declareT5Parameters(const T5Config& config);

/// Random initial values as Hugging Face's T5 draws them (not the same numbers), from `seed`.
/// Throws ErrorCode::aborted between parameters.
ParameterSet initialT5Parameters(const T5Config& config, std::uint64_t seed,
                                 const AbortFlag* abort = nullptr);

/// Throws ErrorCode::invalidArgument (field "kvHeads") if a module's K/V heads cannot be shared.
void checkT5Heads(const T5Config& config);

/// Throws ErrorCode::invalidFile naming the first missing, extra or mis-shaped tensor.
void checkT5Parameters(const T5Config& config, const ParameterSet& parameters);

/// Whether a parameter came with a conversion: a merge or expansion weight, which folding removes.
bool isConversionWeight(const Parameter& parameter);

/// "decoder.block.<layer>.layer.1.EncDecAttention" and the like.
std::string attentionPrefix(AttentionModule module, std::int64_t layer);

// ------------------------------------------------------------------------ parameters by role

struct AttentionParameters {
  Parameter* norm = nullptr;
  Parameter* q = nullptr;  // [heads * dKv, dModel]
  Parameter* k = nullptr;  // [heads * dKv, dModel] if merged, else [kvHeads * dKv, dModel]
  Parameter* v = nullptr;  // as k
  Parameter* o = nullptr;  // [dModel, heads * dKv]
  Parameter* kMergeWeight = nullptr;  // only if merged
  Parameter* vMergeWeight = nullptr;
  Parameter* kExpansionWeight = nullptr;  // [heads, dKv, 1], only if expanded
  Parameter* vExpansionWeight = nullptr;
};

struct FeedForwardParameters {
  Parameter* norm = nullptr;
  Parameter* gate = nullptr;    // wi, or wi_0 if gated: [dFf, dModel]
  Parameter* linear = nullptr;  // wi_1 if gated
  Parameter* out = nullptr;     // wo: [dModel, dFf]
};

struct BlockParameters {
  AttentionParameters self;
  AttentionParameters cross;  // decoder only
  FeedForwardParameters feedForward;
};

struct StackParameters {
  std::vector<BlockParameters> blocks;
  Parameter* relativeBias = nullptr;  // [buckets, heads], of block 0, shared by all blocks
  Parameter* finalNorm = nullptr;
};

struct T5Parameters {
  Parameter* embedding = nullptr;  // [vocab, dModel]
  Parameter* head = nullptr;       // lm_head, or the embedding if tied
  StackParameters encoder;
  StackParameters decoder;
};

/// Looks every role up by name. The set has passed checkT5Parameters.
T5Parameters bindT5Parameters(const T5Config& config, ParameterSet& parameters);

}  // namespace wgqa
