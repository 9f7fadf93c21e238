#include "model/t5_convert.h"

#include <algorithm>
#include <string>

#include "merge/least_squares.h"
#include "merge/matrix_products.h"
#include "model/host_result.h"
#include "model/parameter_rewrite.h"
#include "model/t5_calibration.h"
#include "model/t5_derived.h"
#include "model/t5_heads.h"

namespace wgqa {
namespace {

// ---------------------------------------------------------------------------- checks

bool isCalibrated(const T5Config& config, const T5Calibration& calibration) {
  const T5Config& other = calibration.config();
  return config.dModel == other.dModel && config.encoderLayers == other.encoderLayers &&
         config.decoderLayers == other.decoderLayers;
}

void checkOptions(const T5Config& config, const ConvertOptions& options,
                  const T5Calibration* calibration) {
  if (options.modules.empty()) {
    throw invalidArgument("modules", "a non-empty list of attention modules", "an empty list");
  }
  for (const ModuleHeads& module : config.modules) {
    if (!module.merged && !module.expanded && module.kvHeadsByLayer.empty() &&
        module.kvHeads == config.heads) {
      continue;
    }
    throw Error(ErrorCode::alreadyConverted,
                "the model already has grouped heads or merge weights: convert the multi-head "
                "model it came from",
                "model");
  }
  if (calibration != nullptr && !isCalibrated(config, *calibration)) {
    throw invalidArgument("calibration", "that of the model to convert", "another architecture's");
  }
  if (!options.weighted || options.init != MergeInit::leastSquares) return;
  if (calibration == nullptr)
    throw invalidArgument("calibration", "given for least squares", "none");
  if (options.granularity != MergeGranularity::head ||
      options.constraint != MergeConstraint::none) {
    throw invalidArgument("init", "'mean' or 'random' unless weights are free and of whole heads",
                          "'least-squares'");
  }
}

// The configuration of the converted model. Similar heads of self-attention share one order in all
// layers, so that their groups cannot differ in size.
T5Config convertedConfig(const T5Config& source, const ConvertOptions& options) {
  T5Config config = source;
  for (const AttentionModule module : options.modules) {
    const auto& byLayer = options.kvHeadsByLayer[static_cast<int>(module)];
    if (!byLayer.empty() && options.grouping == HeadGrouping::similarity) {
      throw invalidArgument("kvHeads", "one number for all layers, if grouped by similarity",
                            "a number for each layer");
    }
    config.module(module) = {options.kvHeads, options.weighted, options.expanded, byLayer};
  }
  config.granularity = options.granularity;
  config.constraint = options.constraint;
  checkT5Heads(config);
  return config;
}

// ---------------------------------------------------------------------------- conversion

// Takes the prepared multi-head parameters to those of the converted model.
class Conversion {
 public:
  Conversion(const T5Config& config, const ConvertOptions& options,
             const T5Calibration* calibration, const ParameterSet& heads, Ops& ops)
      : config_(config), options_(options), calibration_(calibration), heads_(heads), ops_(ops) {}

  ParameterSet run(const AbortFlag* abort) {
    for (const AttentionModule module : options_.modules) {
      for (std::int64_t layer = 0; layer < config_.layersOf(module); ++layer) {
        throwIfAborted(abort);
        convertLayer(module, layer);
      }
    }
    return rewrite_.apply(heads_);
  }

 private:
  void convertLayer(AttentionModule module, std::int64_t layer) {
    const std::string prefix = attentionPrefix(module, layer);
    const std::int64_t kvHeads = config_.module(module).kvHeadsIn(layer);
    if (!options_.weighted) {
      if (kvHeads != config_.heads) poolLayer(prefix, kvHeads);
    } else if (options_.init == MergeInit::leastSquares) {
      addLeastSquaresWeights(module, layer);
    } else {
      for (const char* projection : {".k", ".v"}) addMergeWeight(prefix + projection, kvHeads);
    }
    if (!options_.expanded) return;
    for (const char* projection : {".k", ".v"}) addExpansionWeight(prefix + projection);
  }

  void poolLayer(const std::string& prefix, std::int64_t kvHeads) {
    for (const char* projection : {".k.weight", ".v.weight"}) {
      rewrite_.replace(meanPooled(heads_.at(prefix + projection), kvHeads));
    }
  }

  Parameter meanPooled(const Parameter& base, std::int64_t kvHeads) const {
    Parameter weight("mean", {config_.heads, 1, 1});
    std::fill_n(weight.hostFloats(), config_.heads,
                meanMergeWeight(MergeConstraint::none, config_.heads, kvHeads));
    Parameter pooled(base.name(), {kvHeads * config_.dKv, config_.dModel});
    const HostResult result(
        ops_, {pooled.hostFloats(), DType::float32, {kvHeads, config_.dKv, config_.dModel}});
    const std::vector<std::int32_t> groups = neighbouringGroups(config_.heads, kvHeads);
    Buffer baseCopy;
    Buffer weightCopy;
    MergeHeads merge;
    merge.base = rowsAsHeads(base.asFloat32(ops_, baseCopy), config_.heads);
    merge.weight = weight.in(ops_, weightCopy);
    merge.kvHeadOf = groups;
    merge.merged = result.view();
    ops_.mergeHeads(merge);
    result.deliver();
    return pooled;
  }

  Parameter newMergeWeight(const std::string& projection) const {
    return {projection + ".merge_weight",
            mergeWeightShape(options_.granularity, config_.heads, config_.dKv, config_.dModel)};
  }

  void addMergeWeight(const std::string& projection, std::int64_t kvHeads) {
    Parameter weight = newMergeWeight(projection);
    const std::span values(weight.hostFloats(), static_cast<std::size_t>(weight.elements()));
    if (options_.init == MergeInit::random) {
      fillRandomMergeWeight(values, RandomField{options_.seed, stream_});
    } else {
      std::ranges::fill(values, meanMergeWeight(options_.constraint, config_.heads, kvHeads));
    }
    ++stream_;
    rewrite_.addAfter(projection + ".weight", std::move(weight));
  }

  // K as its queries see it, V as O does.
  void addLeastSquaresWeights(AttentionModule module, std::int64_t layer) {
    const std::string prefix = attentionPrefix(module, layer);
    const AttentionMatrices attention = readAttention(heads_, ops_, prefix);
    const Matrix& queries = calibration_->queryInputs(module, layer).secondMoment;
    std::vector<Matrix> keyReaders;
    std::vector<Matrix> valueReaders;
    for (std::int64_t head = 0; head < config_.heads; ++head) {
      const Matrix q = attention.q.middleRows(head * config_.dKv, config_.dKv);
      keyReaders.push_back(productWithTransposed(product(q, queries), q));
      const Matrix o = attention.o.middleCols(head * config_.dKv, config_.dKv);
      valueReaders.push_back(productOfTransposed(o, o));
    }
    addLeastSquaresWeight(module, layer, prefix + ".k", keyReaders,
                          keyGram(attention.k, config_, module, layer, calibration_));
    addLeastSquaresWeight(module, layer, prefix + ".v", valueReaders,
                          valueGram(attention.v, config_, module, layer, calibration_));
  }

  void addLeastSquaresWeight(AttentionModule module, std::int64_t layer,
                             const std::string& projection, std::span<const Matrix> readers,
                             const HeadGram& gram) {
    const auto groups = neighbouringGroups(config_.heads, config_.module(module).kvHeadsIn(layer));
    Parameter weight = newMergeWeight(projection);
    std::ranges::copy(leastSquaresMergeWeights(gram, readers, groups), weight.hostFloats());
    rewrite_.addAfter(projection + ".weight", std::move(weight));
  }

  void addExpansionWeight(const std::string& projection) {
    Parameter weight(projection + ".expansion_weight", {config_.heads, config_.dKv, 1});
    std::fill_n(weight.hostFloats(), weight.elements(), 1.0f);
    rewrite_.addAfter(projection + ".weight", std::move(weight));
  }

  const T5Config& config_;
  const ConvertOptions& options_;
  const T5Calibration* calibration_;
  const ParameterSet& heads_;
  Ops& ops_;
  ParameterRewrite rewrite_;
  std::uint64_t stream_ = 0;
};

// ---------------------------------------------------------------------------- folding

void foldProjection(Ops& ops, const DerivedProjection& derived, ParameterRewrite& rewrite) {
  if (derived.weight == nullptr) return;
  const auto [rows, columns] = derived.matrixShape;
  Parameter folded(derived.base->name(), {rows, columns});
  const HostResult result(ops, {folded.hostFloats(), DType::float32, {rows, columns}});
  derive(ops, derived, result.view());
  result.deliver();
  rewrite.replace(std::move(folded));
  rewrite.remove(derived.weight->name());
}

void foldAttention(T5Model& source, AttentionModule module, std::int64_t layer,
                   const AttentionParameters& parameters, ParameterRewrite& rewrite) {
  for (const auto projection : {Projection::q, Projection::k, Projection::v, Projection::o}) {
    foldProjection(source.ops(), derivedProjection(source, module, layer, parameters, projection),
                   rewrite);
  }
}

void foldStack(T5Model& source, bool decoder, ParameterRewrite& rewrite, const AbortFlag* abort) {
  const StackParameters& stack = decoder ? source.bound().decoder : source.bound().encoder;
  const auto self = decoder ? AttentionModule::decoderSelf : AttentionModule::encoderSelf;
  for (std::size_t index = 0; index < stack.blocks.size(); ++index) {
    throwIfAborted(abort);
    const auto layer = static_cast<std::int64_t>(index);
    foldAttention(source, self, layer, stack.blocks[index].self, rewrite);
    if (!decoder) continue;
    foldAttention(source, AttentionModule::decoderCross, layer, stack.blocks[index].cross, rewrite);
  }
}

}  // namespace

std::unique_ptr<T5Model> convertModel(T5Model& source, const ConvertOptions& options,
                                      std::unique_ptr<Ops> ops, const T5Calibration* calibration,
                                      const AbortFlag* abort) {
  checkOptions(source.config(), options, calibration);
  const T5Config config = convertedConfig(source.config(), options);
  ParameterSet heads = ParameterRewrite().apply(source.parameters());
  const HeadPreparation preparation{options.grouping, options.alignment, calibration};
  if (preparation.isNeeded()) {
    for (const AttentionModule module : options.modules) {
      heads = prepareHeads(config, module, preparation, heads, source.ops(), abort);
    }
  }
  ParameterSet converted = Conversion(config, options, calibration, heads, source.ops()).run(abort);
  return std::make_unique<T5Model>(config, std::move(converted), std::move(ops),
                                   source.computeDtype());
}

std::unique_ptr<T5Model> foldModel(T5Model& source, std::unique_ptr<Ops> ops,
                                   const AbortFlag* abort) {
  T5Config config = source.config();
  ParameterRewrite rewrite;
  foldStack(source, false, rewrite, abort);
  foldStack(source, true, rewrite, abort);
  for (ModuleHeads& module : config.modules) module.merged = module.expanded = false;
  return std::make_unique<T5Model>(config, rewrite.apply(source.parameters()), std::move(ops),
                                   source.computeDtype());
}

}  // namespace wgqa
