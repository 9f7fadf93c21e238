#include "model/t5_convert.h"

#include <algorithm>
#include <string>

#include "model/host_result.h"

namespace wgqa {
namespace {

std::string divisorsOf(std::int64_t heads) {
  std::string text;
  for (std::int64_t d = 1; d <= heads; ++d) {
    if (heads % d == 0) text += (text.empty() ? "" : ", ") + std::to_string(d);
  }
  return "a divisor of the " + std::to_string(heads) + " heads (" + text + ")";
}

void checkOptions(const T5Config& config, const ConvertOptions& options) {
  if (options.kvHeads < 1 || config.heads % options.kvHeads != 0) {
    throw invalidArgument("kvHeads", divisorsOf(config.heads), std::to_string(options.kvHeads));
  }
  if (options.modules.empty()) {
    throw invalidArgument("modules", "a non-empty list of attention modules", "an empty list");
  }
  for (const ModuleHeads& module : config.modules) {
    if (module.merged || module.kvHeads != config.heads) {
      throw Error(ErrorCode::alreadyConverted,
                  "the model already has grouped heads or merge weights: convert the multi-head "
                  "model it came from",
                  "model");
    }
  }
}

std::int64_t layersOf(const T5Config& config, AttentionModule module) {
  return module == AttentionModule::encoderSelf ? config.encoderLayers : config.decoderLayers;
}

// Calls visit(module, layer, "<prefix>.k" or "<prefix>.v") for every K/V projection of `modules`.
template <typename Visit>
void forEachProjection(const T5Config& config, const std::vector<AttentionModule>& modules,
                       const Visit& visit) {
  for (const AttentionModule module : modules) {
    for (std::int64_t layer = 0; layer < layersOf(config, module); ++layer) {
      for (const char* projection : {".k", ".v"}) {
        visit(module, attentionPrefix(module, layer) + projection);
      }
    }
  }
}

// Copies `source` in its order, with some tensors replaced, added after their base, or left out.
class ParameterRewrite {
 public:
  void replace(Parameter parameter) {
    std::string name = parameter.name();
    changed_.emplace(std::move(name), std::move(parameter));
  }
  void addAfter(const std::string& base, Parameter parameter) {
    added_.emplace(base, std::move(parameter));
  }
  void remove(const std::string& name) { removed_.push_back(name); }

  ParameterSet apply(const ParameterSet& source) const {
    ParameterSet result;
    for (const auto& parameter : source.all()) {
      const std::string& name = parameter->name();
      if (std::find(removed_.begin(), removed_.end(), name) != removed_.end()) continue;
      const auto changed = changed_.find(name);
      result.add(changed == changed_.end() ? *parameter : changed->second);
      const auto added = added_.find(name);
      if (added != added_.end()) result.add(added->second);
    }
    return result;
  }

 private:
  std::unordered_map<std::string, Parameter> changed_;
  std::unordered_map<std::string, Parameter> added_;
  std::vector<std::string> removed_;
};

Parameter meanPooled(T5Model& source, const Parameter& base, std::int64_t kvHeads) {
  const T5Config& config = source.config();
  Parameter weight("mean", {config.heads, 1, 1});
  const float mean = static_cast<float>(kvHeads) / static_cast<float>(config.heads);
  fillMergeWeight({weight.hostFloats(), static_cast<std::size_t>(config.heads)}, MergeInit::mean,
                  mean, {});
  Parameter pooled(base.name(), {kvHeads * config.dKv, config.dModel});
  const HostResult result(
      source.ops(), {pooled.hostFloats(), DType::float32, {kvHeads, config.dKv, config.dModel}});
  const std::vector<std::int32_t> groups = neighbouringGroups(config.heads, kvHeads);
  Buffer baseCopy;
  Buffer weightCopy;
  MergeHeads merge;
  merge.base = rowsAsHeads(base.asFloat32(source.ops(), baseCopy), config.heads);
  merge.weight = weight.in(source.ops(), weightCopy);
  merge.kvHeadOf = groups;
  merge.merged = result.view();
  source.ops().mergeHeads(merge);
  result.deliver();
  return pooled;
}

Parameter initialMergeWeight(const T5Config& config, const ConvertOptions& options,
                             const std::string& name, std::uint64_t stream) {
  Parameter weight(name,
                   mergeWeightShape(options.granularity, config.heads, config.dKv, config.dModel));
  const float mean = static_cast<float>(options.kvHeads) / static_cast<float>(config.heads);
  fillMergeWeight({weight.hostFloats(), static_cast<std::size_t>(weight.elements())}, options.init,
                  mean, RandomField{options.seed, stream});
  return weight;
}

}  // namespace

std::unique_ptr<T5Model> convertModel(T5Model& source, const ConvertOptions& options,
                                      std::unique_ptr<Ops> ops) {
  checkOptions(source.config(), options);
  T5Config config = source.config();
  ParameterRewrite rewrite;
  std::uint64_t stream = 0;
  forEachProjection(config, options.modules, [&](AttentionModule, const std::string& projection) {
    const Parameter& base = source.parameters().at(projection + ".weight");
    if (options.weighted) {
      rewrite.addAfter(base.name(),
                       initialMergeWeight(config, options, projection + ".merge_weight", stream++));
    } else if (options.kvHeads != config.heads) {
      rewrite.replace(meanPooled(source, base, options.kvHeads));
    }
  });
  for (const AttentionModule module : options.modules) {
    config.module(module) = {options.kvHeads, options.weighted};
  }
  config.granularity = options.granularity;
  return std::make_unique<T5Model>(config, rewrite.apply(source.parameters()), std::move(ops),
                                   source.computeDtype());
}

std::unique_ptr<T5Model> foldModel(T5Model& source, std::unique_ptr<Ops> ops) {
  T5Config config = source.config();
  std::vector<AttentionModule> merged;
  for (int index = 0; index < kAttentionModules; ++index) {
    const auto module = static_cast<AttentionModule>(index);
    if (config.module(module).merged) merged.push_back(module);
  }
  if (merged.empty()) {
    throw Error(ErrorCode::nothingToFold, "the model has no merge weights to fold", "model");
  }
  ParameterRewrite rewrite;
  forEachProjection(config, merged, [&](AttentionModule module, const std::string& projection) {
    const Parameter& base = source.parameters().at(projection + ".weight");
    const Parameter& weight = source.parameters().at(projection + ".merge_weight");
    const std::int64_t rows = config.module(module).kvHeads * config.dKv;
    Parameter folded(base.name(), {rows, config.dModel});
    const HostResult result(source.ops(),
                            {folded.hostFloats(), DType::float32, {rows, config.dModel}});
    mergeProjection(source, source.ops(), module, base, weight, result.view());
    result.deliver();
    rewrite.replace(std::move(folded));
    rewrite.remove(weight.name());
  });
  for (const AttentionModule module : merged) config.module(module).merged = false;
  return std::make_unique<T5Model>(config, rewrite.apply(source.parameters()), std::move(ops),
                                   source.computeDtype());
}

}  // namespace wgqa
