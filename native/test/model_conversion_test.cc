// Conversions that add parameters or divide heads unevenly: weighted expansion, constrained merge
// weights, K/V heads by layer.
#include <algorithm>
#include <cmath>

#include "base/random_normal.h"
#include "harness.h"
#include "model/t5_convert.h"
#include "model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

constexpr double kFloat32 = 1e-5;

// ---------------------------------------------------------------------------- weighted expansion

ConvertOptions expandedOptions(bool weighted) {
  ConvertOptions options = conversionTo(2);
  options.weighted = weighted;
  options.expanded = true;
  return options;
}

void setExpansionWeights(T5Model& model) {
  const T5Model::ParameterUpdate update(model);
  std::uint64_t stream = 0;
  for (const auto& parameter : model.parameters().all()) {
    if (!parameter->name().ends_with(".expansion_weight")) continue;
    const TensorView view = update.writable(*parameter);
    for (std::int64_t i = 0; i < view.elements(); ++i) {
      view.as<float>()[i] =
          1.0f + 0.5f * normalAt(RandomField{3, stream}, 0, static_cast<std::uint32_t>(i));
    }
    ++stream;
  }
}

WGQA_TEST(conversionExpansionStartsAsNoneAndFolds) {
  const SmallBatch batch;
  const auto base = smallModel(true, makeCpuOps());
  for (const bool weighted : {false, true}) {
    ConvertOptions plain = expandedOptions(weighted);
    plain.expanded = false;
    const auto without = convertModel(*base, plain, makeCpuOps());
    const auto expanded = convertModel(*base, expandedOptions(weighted), makeCpuOps());
    CHECK(relativeError(logitsOf(*expanded, batch), logitsOf(*without, batch)) < kFloat32);
    setExpansionWeights(*expanded);
    CHECK(relativeError(logitsOf(*expanded, batch), logitsOf(*without, batch)) > 1e-3);
    const auto folded = foldModel(*expanded, makeCpuOps());
    CHECK(relativeError(logitsOf(*folded, batch), logitsOf(*expanded, batch)) < kFloat32);
    for (const auto& parameter : folded->parameters().all()) {
      CHECK(!isConversionWeight(*parameter));
    }
    CHECK_THROWS(ErrorCode::alreadyConverted, convertModel(*expanded, plain, makeCpuOps()));
  }
}

// Scaling the channels of what a head reads is scaling those of its own K and V head: in a model
// whose K and V heads are not shared, both can be done.
WGQA_TEST(conversionExpansionScalesWhatEachHeadReads) {
  const SmallBatch batch;
  const auto base = smallModel(false, makeCpuOps());
  ConvertOptions options = expandedOptions(false);
  options.kvHeads = 4;
  const auto expanded = convertModel(*base, options, makeCpuOps());
  setExpansionWeights(*expanded);
  {
    const T5Model::ParameterUpdate update(*base);
    for (const auto& parameter : expanded->parameters().all()) {
      const std::string suffix = ".expansion_weight";
      if (!parameter->name().ends_with(suffix)) continue;
      const std::string projection =
          parameter->name().substr(0, parameter->name().size() - suffix.size());
      const TensorView matrix = update.writable(base->parameter(projection + ".weight"));
      const ConstTensorView scales = parameter->view();
      for (std::int64_t i = 0; i < matrix.elements(); ++i) {
        matrix.as<float>()[i] *= scales.as<float>()[i / matrix.shape[1]];
      }
    }
  }
  CHECK(relativeError(logitsOf(*expanded, batch), logitsOf(*base, batch)) < kFloat32);
}

std::vector<float> gradientNamed(Trainer& trainer, const std::string& name) {
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  for (const auto& gradient : trainer.gradients({&view, 1}, nullptr)) {
    if (gradient.parameter->name() != name) continue;
    const float* data = gradient.grad.as<float>();
    return {data, data + gradient.grad.elements()};
  }
  return {};
}

std::vector<float> valuesOf(T5Model& model, const std::string& name) {
  const Parameter& parameter = model.parameters().at(name);
  std::vector<float> values(static_cast<std::size_t>(parameter.elements()));
  parameter.copyTo(model.ops(), DType::float32, values.data());
  return values;
}

// At the start a weight's gradient is that of what it scales times its value, summed.
WGQA_TEST(conversionExpansionGradientsAreThoseOfWhatTheyScale) {
  const auto base = smallModel(true, makeCpuOps());
  const auto without = smallModel(true, makeCpuOps());
  ConvertOptions options = expandedOptions(false);
  options.kvHeads = 4;
  const auto expanded = convertModel(*base, options, makeCpuOps());
  Trainer trainer(*expanded, {});
  Trainer plain(*without, {});
  const std::int64_t inner = base->config().innerDim();
  const std::int64_t dModel = base->config().dModel;
  for (const AttentionModule module : kAllModules) {
    const std::string prefix = attentionPrefix(module, 1);
    const auto gradQ = gradientNamed(plain, prefix + ".q.weight");
    const auto gradO = gradientNamed(plain, prefix + ".o.weight");
    CHECK(relativeError(gradientNamed(trainer, prefix + ".q.weight"), gradQ) < 2e-5);
    CHECK(relativeError(gradientNamed(trainer, prefix + ".o.weight"), gradO) < 2e-5);
    const auto q = valuesOf(*without, prefix + ".q.weight");
    const auto o = valuesOf(*without, prefix + ".o.weight");
    std::vector<float> keys(static_cast<std::size_t>(inner));
    std::vector<float> values(static_cast<std::size_t>(inner));
    for (std::int64_t channel = 0; channel < inner; ++channel) {
      for (std::int64_t i = 0; i < dModel; ++i) {
        keys[channel] += gradQ[channel * dModel + i] * q[channel * dModel + i];
        values[channel] += gradO[i * inner + channel] * o[i * inner + channel];
      }
    }
    // Sums of products of both signs.
    CHECK(relativeError(gradientNamed(trainer, prefix + ".k.expansion_weight"), keys) < 1e-4);
    CHECK(relativeError(gradientNamed(trainer, prefix + ".v.expansion_weight"), values) < 1e-4);
  }
}

WGQA_TEST(conversionExpansionAloneCanBeTrained) {
  const auto base = smallModel(true, makeCpuOps());
  const auto model = convertModel(*base, expandedOptions(true), makeCpuOps());
  const auto reference = convertModel(*smallModel(true, makeReferenceOps()), expandedOptions(true),
                                      makeReferenceOps());
  TrainerOptions options;
  options.training.trainable = Trainable::merge;
  Trainer trainer(*model, options);
  Trainer expected(*reference, options);
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  const auto gradients = trainer.gradients({&view, 1}, nullptr);
  const auto others = expected.gradients({&view, 1}, nullptr);
  CHECK_EQUAL(gradients.size(), others.size());
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    CHECK(isConversionWeight(*gradients[i].parameter));
    const auto elements = gradients[i].grad.elements();
    const float* actual = gradients[i].grad.as<float>();
    const float* wanted = others[i].grad.as<float>();
    CHECK(relativeError({actual, actual + elements}, {wanted, wanted + elements}) < 1e-4);
  }
}

// ---------------------------------------------------------------------------- constrained weights

constexpr MergeConstraint kConstraints[] = {MergeConstraint::softmax, MergeConstraint::signedUnit};

ConvertOptions constrainedOptions(MergeConstraint constraint, MergeGranularity granularity) {
  ConvertOptions options = weighted(granularity);
  options.constraint = constraint;
  return options;
}

WGQA_TEST(conversionConstrainedWeightsStartAtTheMeanAndFold) {
  const SmallBatch batch;
  const auto base = smallModel(true, makeCpuOps());
  ConvertOptions pooled = conversionTo(2);
  pooled.weighted = false;
  const auto mean = convertModel(*base, pooled, makeCpuOps());
  for (const MergeConstraint constraint : kConstraints) {
    for (const auto granularity :
         {MergeGranularity::head, MergeGranularity::row, MergeGranularity::column}) {
      ConvertOptions options = constrainedOptions(constraint, granularity);
      options.init = MergeInit::mean;
      const auto started = convertModel(*base, options, makeCpuOps());
      CHECK(relativeError(logitsOf(*started, batch), logitsOf(*mean, batch)) < kFloat32);
      options.init = MergeInit::random;
      const auto random = convertModel(*base, options, makeCpuOps());
      const auto folded = foldModel(*random, makeCpuOps());
      CHECK(relativeError(logitsOf(*random, batch), logitsOf(*mean, batch)) > 1e-3);
      CHECK(relativeError(logitsOf(*folded, batch), logitsOf(*random, batch)) < kFloat32);
    }
  }
}

// The weights that raw values of one group stand for.
std::vector<double> weightsOf(MergeConstraint constraint, std::span<const float> raw) {
  std::vector<double> weights;
  double sum = 0.0;
  for (const float value : raw) {
    weights.push_back(constraint == MergeConstraint::softmax ? std::exp(value) : value);
    sum += std::abs(weights.back());
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

// The chain rule from the gradient of a model whose weights are free and the same.
WGQA_TEST(conversionConstrainedGradientsFollowFromThoseOfFreeWeights) {
  const std::string name = attentionPrefix(AttentionModule::decoderCross, 1) + ".v.merge_weight";
  for (const MergeConstraint constraint : kConstraints) {
    const auto base = smallModel(true, makeCpuOps());
    const auto model =
        convertModel(*base, constrainedOptions(constraint, MergeGranularity::head), makeCpuOps());
    const auto free = convertModel(*base, weighted(MergeGranularity::head), makeCpuOps());
    {
      const T5Model::ParameterUpdate update(*free);
      for (const auto& parameter : free->parameters().all()) {
        if (!isConversionWeight(*parameter)) continue;
        const std::vector<float> raw = valuesOf(*model, parameter->name());
        float* values = update.writable(*parameter).as<float>();
        for (const std::size_t group : {0, 2}) {
          std::ranges::copy(weightsOf(constraint, std::span(raw).subspan(group, 2)),
                            values + group);
        }
      }
    }
    Trainer trainer(*model, {});
    Trainer freeTrainer(*free, {});
    const std::vector<float> raw = valuesOf(*model, name);
    const std::vector<float> g = gradientNamed(freeTrainer, name);
    const std::vector<float> actual = gradientNamed(trainer, name);
    for (const std::size_t group : {0, 2}) {
      const auto w = weightsOf(constraint, std::span(raw).subspan(group, 2));
      const double along = w[0] * g[group] + w[1] * g[group + 1];
      const double sum = std::abs(raw[group]) + std::abs(raw[group + 1]);
      for (const std::size_t i : {0, 1}) {
        const double sign = raw[group + i] < 0.0f ? -1.0 : 1.0;
        const double expected = constraint == MergeConstraint::softmax
                                    ? w[i] * (g[group + i] - along)
                                    : (g[group + i] - sign * along) / sum;
        // Gradients of a loss of order one, in float32.
        CHECK_NEAR(actual[group + i], expected, 1e-5);
      }
    }
  }
}

// ---------------------------------------------------------------------------- K/V heads by layer

WGQA_TEST(conversionKvHeadsMayDifferByLayer) {
  const SmallBatch batch;
  const auto base = smallModel(true, makeCpuOps());
  ConvertOptions options = conversionTo(2);
  options.init = MergeInit::random;
  options.kvHeadsByLayer[static_cast<int>(AttentionModule::decoderSelf)] = {1, 4};
  options.kvHeadsByLayer[static_cast<int>(AttentionModule::decoderCross)] = {2, 1};
  const auto converted = convertModel(*base, options, makeCpuOps());
  const auto folded = foldModel(*converted, makeCpuOps());
  CHECK(relativeError(logitsOf(*folded, batch), logitsOf(*converted, batch)) < kFloat32);
  const auto rowsOf = [&](AttentionModule module, std::int64_t layer) {
    const std::string name = attentionPrefix(module, layer) + ".v.weight";
    return folded->parameters().at(name).shape()[0] / base->config().dKv;
  };
  CHECK_EQUAL(rowsOf(AttentionModule::decoderSelf, 0), 1);
  CHECK_EQUAL(rowsOf(AttentionModule::decoderSelf, 1), 4);
  CHECK_EQUAL(rowsOf(AttentionModule::decoderCross, 0), 2);
  CHECK_EQUAL(rowsOf(AttentionModule::decoderCross, 1), 1);
  CHECK_EQUAL(rowsOf(AttentionModule::encoderSelf, 1), 2);
}

WGQA_TEST(conversionRefusesKvHeadsByLayerThatCannotBe) {
  const auto base = smallModel(true, makeCpuOps());
  const auto refuse = [&](AttentionModule module, std::vector<std::int64_t> kvHeads,
                          HeadGrouping grouping = HeadGrouping::neighbouring) {
    ConvertOptions options = conversionTo(2);
    options.kvHeadsByLayer[static_cast<int>(module)] = std::move(kvHeads);
    options.grouping = grouping;
    CHECK_THROWS(ErrorCode::invalidArgument, convertModel(*base, options, makeCpuOps()));
  };
  refuse(AttentionModule::decoderSelf, {2});
  refuse(AttentionModule::decoderSelf, {2, 3});
  refuse(AttentionModule::decoderSelf, {2, 0});
  refuse(AttentionModule::decoderCross, {2, 2, 2});
  refuse(AttentionModule::encoderSelf, {2, 2, 2});
  refuse(AttentionModule::decoderCross, {2, 1}, HeadGrouping::similarity);
}

}  // namespace
}  // namespace wgqa::test
