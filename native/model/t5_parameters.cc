#include "model/t5_parameters.h"

#include <cmath>

#include "base/parallel.h"
#include "base/random_normal.h"
#include "merge/head_groups.h"

namespace wgqa {
namespace {

constexpr std::int64_t kNormalGrain = 1 << 13;
constexpr std::int64_t kNormalRow = 1 << 20;

float inverseRoot(std::int64_t value) { return 1.0f / std::sqrt(static_cast<float>(value)); }

std::string blockPrefix(bool decoder, std::int64_t layer) {
  return std::string(decoder ? "decoder" : "encoder") + ".block." + std::to_string(layer);
}

std::string sublayer(bool decoder, std::int64_t block, int index) {
  return blockPrefix(decoder, block) + ".layer." + std::to_string(index);
}

// Collects declarations; `factor` is the configuration's initializer_factor.
class Declarations {
 public:
  explicit Declarations(const T5Config& config) : c_(config) {}

  void norm(const std::string& prefix, const char* name = ".layer_norm") {
    list_.push_back({prefix + name + ".weight", {c_.dModel}, 0.0f, c_.initializerFactor});
  }
  void matrix(const std::string& name, std::int64_t rows, std::int64_t columns, float std) {
    list_.push_back({name, {rows, columns}, c_.initializerFactor * std, 0.0f});
  }
  void attention(AttentionModule module, std::int64_t layer) {
    const std::string prefix = attentionPrefix(module, layer);
    const ModuleHeads& heads = c_.module(module);
    const std::int64_t kvHeads = heads.kvHeadsIn(layer);
    const std::int64_t kvRows = (heads.merged ? c_.heads : kvHeads) * c_.dKv;
    matrix(prefix + ".q.weight", c_.innerDim(), c_.dModel, inverseRoot(c_.dModel * c_.dKv));
    for (const char* projection : {".k", ".v"}) {
      matrix(prefix + projection + ".weight", kvRows, c_.dModel, inverseRoot(c_.dModel));
      if (heads.merged) mergeWeight(prefix + projection + ".merge_weight", kvHeads);
      if (heads.expanded) expansionWeight(prefix + projection + ".expansion_weight");
    }
    matrix(prefix + ".o.weight", c_.dModel, c_.innerDim(), inverseRoot(c_.innerDim()));
    if (layer == 0 && module != AttentionModule::decoderCross) {
      matrix(prefix + ".relative_attention_bias.weight", c_.relativeBuckets, c_.heads,
             inverseRoot(c_.dModel));
    }
  }
  void feedForward(const std::string& prefix) {
    const std::string dense = prefix + ".DenseReluDense.";
    matrix(dense + (c_.gated ? "wi_0.weight" : "wi.weight"), c_.dFf, c_.dModel,
           inverseRoot(c_.dModel));
    if (c_.gated) matrix(dense + "wi_1.weight", c_.dFf, c_.dModel, inverseRoot(c_.dModel));
    matrix(dense + "wo.weight", c_.dModel, c_.dFf, inverseRoot(c_.dFf));
    norm(prefix);
  }
  void stack(bool decoder, std::int64_t layers) {
    const auto self = decoder ? AttentionModule::decoderSelf : AttentionModule::encoderSelf;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      attention(self, layer);
      norm(sublayer(decoder, layer, 0));
      if (decoder) {
        attention(AttentionModule::decoderCross, layer);
        norm(sublayer(decoder, layer, 1));
      }
      feedForward(sublayer(decoder, layer, decoder ? 2 : 1));
    }
    norm(decoder ? "decoder" : "encoder", ".final_layer_norm");
  }
  std::vector<DeclaredParameter> take() { return std::move(list_); }

 private:
  void mergeWeight(const std::string& name, std::int64_t kvHeads) {
    list_.push_back({name, mergeWeightShape(c_.granularity, c_.heads, c_.dKv, c_.dModel), 0.0f,
                     meanMergeWeight(c_.constraint, c_.heads, kvHeads)});
  }
  void expansionWeight(const std::string& name) {
    list_.push_back({name, {c_.heads, c_.dKv, 1}, 0.0f, 1.0f});
  }

  const T5Config& c_;
  std::vector<DeclaredParameter> list_;
};

void fillInitial(const DeclaredParameter& declared, Parameter& parameter,
                 const RandomField& random) {
  float* values = parameter.hostFloats();
  parallelFor(parameter.elements(), kNormalGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      values[i] =
          declared.initialStd == 0.0f
              ? declared.constant
              : declared.initialStd * normalAt(random, static_cast<std::uint32_t>(i / kNormalRow),
                                               static_cast<std::uint32_t>(i % kNormalRow));
    }
  });
}

std::string shapeText(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

AttentionParameters bindAttention(ParameterSet& set, AttentionModule module, std::int64_t layer,
                                  const std::string& normPrefix, const ModuleHeads& heads) {
  const std::string prefix = attentionPrefix(module, layer);
  AttentionParameters bound;
  bound.norm = &set.at(normPrefix + ".layer_norm.weight");
  bound.q = &set.at(prefix + ".q.weight");
  bound.k = &set.at(prefix + ".k.weight");
  bound.v = &set.at(prefix + ".v.weight");
  bound.o = &set.at(prefix + ".o.weight");
  if (heads.merged) {
    bound.kMergeWeight = &set.at(prefix + ".k.merge_weight");
    bound.vMergeWeight = &set.at(prefix + ".v.merge_weight");
  }
  if (heads.expanded) {
    bound.kExpansionWeight = &set.at(prefix + ".k.expansion_weight");
    bound.vExpansionWeight = &set.at(prefix + ".v.expansion_weight");
  }
  return bound;
}

FeedForwardParameters bindFeedForward(ParameterSet& set, const std::string& prefix, bool gated) {
  const std::string dense = prefix + ".DenseReluDense.";
  FeedForwardParameters bound;
  bound.norm = &set.at(prefix + ".layer_norm.weight");
  bound.gate = &set.at(dense + (gated ? "wi_0.weight" : "wi.weight"));
  if (gated) bound.linear = &set.at(dense + "wi_1.weight");
  bound.out = &set.at(dense + "wo.weight");
  return bound;
}

StackParameters bindStack(const T5Config& config, ParameterSet& set, bool decoder) {
  const auto self = decoder ? AttentionModule::decoderSelf : AttentionModule::encoderSelf;
  const std::int64_t layers = decoder ? config.decoderLayers : config.encoderLayers;
  StackParameters stack;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    BlockParameters block;
    block.self = bindAttention(set, self, layer, sublayer(decoder, layer, 0), config.module(self));
    if (decoder) {
      block.cross =
          bindAttention(set, AttentionModule::decoderCross, layer, sublayer(decoder, layer, 1),
                        config.module(AttentionModule::decoderCross));
    }
    block.feedForward =
        bindFeedForward(set, sublayer(decoder, layer, decoder ? 2 : 1), config.gated);
    stack.blocks.push_back(block);
  }
  stack.relativeBias = &set.at(attentionPrefix(self, 0) + ".relative_attention_bias.weight");
  stack.finalNorm =
      &set.at(std::string(decoder ? "decoder" : "encoder") + ".final_layer_norm.weight");
  return stack;
}

}  // namespace

bool isConversionWeight(const Parameter& parameter) {
  const std::string& name = parameter.name();
  return name.ends_with(".merge_weight") || name.ends_with(".expansion_weight");
}

std::string attentionPrefix(AttentionModule module, std::int64_t layer) {
  switch (module) {
    case AttentionModule::encoderSelf:
      return sublayer(false, layer, 0) + ".SelfAttention";
    case AttentionModule::decoderSelf:
      return sublayer(true, layer, 0) + ".SelfAttention";
    case AttentionModule::decoderCross:
      break;
  }
  return sublayer(true, layer, 1) + ".EncDecAttention";
}

std::vector<DeclaredParameter> declareT5Parameters(const T5Config& config) {
  Declarations declarations(config);
  declarations.matrix("shared.weight", config.vocabSize, config.dModel, 1.0f);
  declarations.stack(false, config.encoderLayers);
  declarations.stack(true, config.decoderLayers);
  if (!config.tiedEmbeddings) {
    declarations.matrix("lm_head.weight", config.vocabSize, config.dModel, 1.0f);
  }
  return declarations.take();
}

ParameterSet initialT5Parameters(const T5Config& config, std::uint64_t seed,
                                 const AbortFlag* abort) {
  ParameterSet parameters;
  std::uint64_t stream = 0;
  for (const DeclaredParameter& declared : declareT5Parameters(config)) {
    throwIfAborted(abort);
    Parameter& parameter = parameters.add(Parameter(declared.name, declared.shape));
    fillInitial(declared, parameter, RandomField{seed, stream++});
  }
  return parameters;
}

void checkT5Heads(const T5Config& config) {
  for (int index = 0; index < kAttentionModules; ++index) {
    const auto module = static_cast<AttentionModule>(index);
    const ModuleHeads& heads = config.module(module);
    const std::int64_t layers = config.layersOf(module);
    const bool fits = heads.kvHeadsByLayer.empty() || (std::ssize(heads.kvHeadsByLayer) == layers &&
                                                       module != AttentionModule::encoderSelf);
    if (!fits) {
      throw invalidArgument("kvHeads", "a number, or one for each layer of a decoder's attention",
                            std::to_string(heads.kvHeadsByLayer.size()) + " numbers");
    }
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const std::int64_t kvHeads = heads.kvHeadsIn(layer);
      if (kvHeads >= 1 && config.heads % kvHeads == 0) continue;
      throw invalidArgument("kvHeads",
                            "a divisor of the " + std::to_string(config.heads) + " heads",
                            std::to_string(kvHeads));
    }
  }
}

void checkT5Parameters(const T5Config& config, const ParameterSet& parameters) {
  const std::vector<DeclaredParameter> declared = declareT5Parameters(config);
  for (const DeclaredParameter& expected : declared) {
    const Parameter* found = parameters.find(expected.name);
    if (found == nullptr) {
      throw Error(ErrorCode::invalidFile, "tensor " + expected.name + " is missing", expected.name);
    }
    if (found->shape() != expected.shape) {
      throw Error(ErrorCode::invalidFile,
                  "tensor " + expected.name + " must have shape " + shapeText(expected.shape) +
                      ", not " + shapeText(found->shape()),
                  expected.name, shapeText(expected.shape));
    }
  }
  if (declared.size() == parameters.all().size()) return;
  ParameterSet names;
  for (const DeclaredParameter& expected : declared) {
    names.add(Parameter(expected.name, expected.shape, DType::float32,
                        std::shared_ptr<const void>(), nullptr));
  }
  for (const auto& parameter : parameters.all()) {
    if (names.find(parameter->name()) == nullptr) {
      throw Error(ErrorCode::invalidFile,
                  "tensor " + parameter->name() + " does not belong to this architecture",
                  parameter->name());
    }
  }
}

T5Parameters bindT5Parameters(const T5Config& config, ParameterSet& parameters) {
  T5Parameters bound;
  bound.embedding = &parameters.at("shared.weight");
  bound.head = config.tiedEmbeddings ? bound.embedding : &parameters.at("lm_head.weight");
  bound.encoder = bindStack(config, parameters, false);
  bound.decoder = bindStack(config, parameters, true);
  return bound;
}

}  // namespace wgqa
