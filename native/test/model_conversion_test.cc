// Conversions beyond the paper's: grouping, alignment, least squares, weighted expansion, K/V heads
// by layer.
#include <Eigen/QR>
#include <algorithm>
#include <cmath>

#include "base/random_normal.h"
#include "harness.h"
#include "merge/least_squares.h"
#include "model/t5_convert.h"
#include "model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

// Rotated and reordered in double, stored in float32: as any sum in another order.
constexpr double kFloat32 = 1e-5;
constexpr AttentionModule kAllModules[] = {
    AttentionModule::encoderSelf, AttentionModule::decoderSelf, AttentionModule::decoderCross};

ConvertOptions optionsOf(std::int64_t kvHeads) {
  ConvertOptions options;
  options.kvHeads = kvHeads;
  options.modules.assign(std::begin(kAllModules), std::end(kAllModules));
  return options;
}

T5Calibration calibrationOf(T5Model& model) {
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  return calibrate(model, {&view, 1}, nullptr);
}

T5Config twoKvHeads(const T5Config& source) {
  T5Config config = source;
  for (ModuleHeads& module : config.modules) module.kvHeads = 2;
  return config;
}

WGQA_TEST(conversionPreparingHeadsChangesNoLogits) {
  const SmallBatch batch;
  const auto base = smallModel(true, makeCpuOps());
  const T5Calibration calibration = calibrationOf(*base);
  const auto expected = logitsOf(*base, batch);
  const T5Config target = twoKvHeads(base->config());
  for (const auto grouping : {HeadGrouping::neighbouring, HeadGrouping::similarity}) {
    for (const auto alignment : {HeadAlignment::none, HeadAlignment::orthogonal}) {
      for (const T5Calibration* given :
           {&calibration, static_cast<const T5Calibration*>(nullptr)}) {
        ParameterSet heads = ParameterRewrite().apply(base->parameters());
        for (const AttentionModule module : kAllModules) {
          heads = prepareHeads(target, module, {grouping, alignment, given}, heads, base->ops(),
                               nullptr);
        }
        T5Model prepared(base->config(), std::move(heads), makeCpuOps(), DType::float32);
        CHECK(relativeError(logitsOf(prepared, batch), expected) < kFloat32);
      }
    }
  }
}

// ---------------------------------------------------------------------------- a model of twins

using FloatMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

FloatMatrix rotation(std::int64_t size, std::uint64_t seed) {
  Eigen::MatrixXd random(size, size);
  for (int i = 0; i < random.size(); ++i) {
    random.data()[i] = normalAt(RandomField{seed, 0}, 0, static_cast<std::uint32_t>(i));
  }
  return Eigen::MatrixXd(Eigen::HouseholderQR<Eigen::MatrixXd>(random).householderQ())
      .cast<float>();
}

// Heads 2 and 3 of each K and V become heads 1 and 0, turned: nothing is lost if heads of equal
// content share, once they are turned back.
std::unique_ptr<T5Model> modelOfTwins(bool turned) {
  auto model = smallModel(true, makeCpuOps());
  const T5Model::ParameterUpdate update(*model);
  const std::int64_t headDim = model->config().dKv;
  std::uint64_t seed = 1;
  for (const AttentionModule module : kAllModules) {
    for (std::int64_t layer = 0; layer < model->config().layersOf(module); ++layer) {
      for (const char* projection : {".k.weight", ".v.weight"}) {
        const TensorView view =
            update.writable(model->parameter(attentionPrefix(module, layer) + projection));
        Eigen::Map<FloatMatrix> matrix(view.as<float>(), view.shape[0], view.shape[1]);
        for (const int head : {2, 3}) {
          const FloatMatrix twin = matrix.middleRows((3 - head) * headDim, headDim);
          const FloatMatrix turn =
              turned ? rotation(headDim, seed++) : FloatMatrix::Identity(headDim, headDim);
          matrix.middleRows(head * headDim, headDim) = turn * twin;
        }
      }
    }
  }
  return model;
}

double errorOfPooling(T5Model& model, HeadGrouping grouping, HeadAlignment alignment) {
  const SmallBatch batch;
  ConvertOptions options = optionsOf(2);
  options.weighted = false;
  options.grouping = grouping;
  options.alignment = alignment;
  const auto pooled = convertModel(model, options, makeCpuOps());
  return relativeError(logitsOf(*pooled, batch), logitsOf(model, batch));
}

WGQA_TEST(conversionFindsTwinsAmongHeads) {
  const auto twins = modelOfTwins(false);
  const auto turned = modelOfTwins(true);
  constexpr auto kNeighbouring = HeadGrouping::neighbouring;
  constexpr auto kSimilarity = HeadGrouping::similarity;
  CHECK(errorOfPooling(*twins, kSimilarity, HeadAlignment::none) < kFloat32);
  CHECK(errorOfPooling(*turned, kSimilarity, HeadAlignment::orthogonal) < kFloat32);
  // Each alone is not enough, which shows that the two above are no accident.
  CHECK(errorOfPooling(*twins, kNeighbouring, HeadAlignment::none) > 1e-2);
  CHECK(errorOfPooling(*turned, kSimilarity, HeadAlignment::none) > 1e-2);
  CHECK(errorOfPooling(*turned, kNeighbouring, HeadAlignment::orthogonal) > 1e-2);
}

// ---------------------------------------------------------------------------- calibration

// Sums in double what the pass tells.
class PlainMoments final : public AttentionInputObserver {
 public:
  struct Sum {
    Matrix square = Matrix::Zero(24, 24);
    Eigen::VectorXd sum = Eigen::VectorXd::Zero(24);
    std::int64_t tokens = 0;

    void add(const ConstTensorView& x) {
      const Eigen::Map<const FloatMatrix> rows(x.as<float>(), x.shape[0], x.shape[1]);
      for (std::int64_t i = 0; i < rows.rows(); ++i) {
        const Eigen::VectorXd row = rows.row(i).cast<double>();
        square += row * row.transpose();
        sum += row;
        ++tokens;
      }
    }
  };
  Sum queries[kAttentionModules][3];
  Sum keys[kAttentionModules][3];

  void observe(AttentionModule module, std::int64_t layer, const ConstTensorView& queryInput,
               const ConstTensorView& keyInput) override {
    queries[static_cast<int>(module)][layer].add(queryInput);
    keys[static_cast<int>(module)][layer].add(keyInput);
  }
};

void checkMoments(const InputMoments& moments, const PlainMoments::Sum& expected) {
  const auto tokens = static_cast<double>(expected.tokens);
  CHECK((moments.secondMoment - expected.square / tokens).norm() < 1e-5 * expected.square.norm());
  CHECK((moments.mean - expected.sum / tokens).norm() < 1e-5 * (1.0 + expected.sum.norm()));
}

WGQA_TEST(conversionCalibrationHoldsTheMomentsOfAttentionInputs) {
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    const auto model = smallModel(false, makeCpuOps(), dtype);
    const std::vector<TeacherForcedBatch> batches(3, view);
    const T5Calibration calibration = calibrate(*model, batches, nullptr);
    const auto wide = smallModel(false, makeCpuOps());
    PlainMoments plain;
    T5Layers layers(wide->config(), DType::float32, makeCpuOps());
    const TensorView states = layers.arena().floats({view.encoder.tokens(), 24});
    const T5TeacherForcedPass pass(*wide, layers, view, states, nullptr, &plain);
    if (dtype == DType::bfloat16) {
      const auto& moment = calibration.queryInputs(AttentionModule::decoderSelf, 1).secondMoment;
      const auto& sum = plain.queries[static_cast<int>(AttentionModule::decoderSelf)][1];
      // Eight bits of mantissa.
      CHECK((moment - sum.square / sum.tokens).norm() < 2e-2 * moment.norm());
      continue;
    }
    for (const AttentionModule module : kAllModules) {
      for (std::int64_t layer = 0; layer < model->config().layersOf(module); ++layer) {
        const int index = static_cast<int>(module);
        checkMoments(calibration.queryInputs(module, layer), plain.queries[index][layer]);
        checkMoments(calibration.keyInputs(module, layer), plain.keys[index][layer]);
      }
    }
  }
}

WGQA_TEST(conversionCalibrationRefusesWhatCannotBe) {
  const auto model = smallModel(false, makeCpuOps());
  CHECK_THROWS(ErrorCode::invalidArgument, calibrate(*model, {}, nullptr));
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  const AbortFlag abort = true;
  CHECK_THROWS(ErrorCode::aborted, calibrate(*model, {&view, 1}, &abort));
  const T5Calibration calibration = calibrationOf(*model);
  ConvertOptions options = optionsOf(2);
  options.init = MergeInit::leastSquares;
  CHECK_THROWS(ErrorCode::invalidArgument, convertModel(*model, options, makeCpuOps()));
  CHECK_THROWS(ErrorCode::aborted,
               convertModel(*model, options, makeCpuOps(), &calibration, &abort));
  options.granularity = MergeGranularity::row;
  CHECK_THROWS(ErrorCode::invalidArgument,
               convertModel(*model, options, makeCpuOps(), &calibration));
  options.granularity = MergeGranularity::head;
  options.constraint = MergeConstraint::softmax;
  CHECK_THROWS(ErrorCode::invalidArgument,
               convertModel(*model, options, makeCpuOps(), &calibration));
  T5Config other = smallConfig(false);
  other.decoderLayers = 1;
  T5Model another(other, initialT5Parameters(other, 7), makeCpuOps(), DType::float32);
  options = optionsOf(2);
  CHECK_THROWS(ErrorCode::invalidArgument,
               convertModel(another, options, makeCpuOps(), &calibration));
}

// The weights that conversion stores are those of the heads as they are then: aligned ones here.
WGQA_TEST(conversionLeastSquaresWeightsAreThoseOfTheHeads) {
  const auto base = smallModel(true, makeCpuOps());
  const T5Calibration calibration = calibrationOf(*base);
  ConvertOptions options = optionsOf(2);
  options.init = MergeInit::leastSquares;
  options.alignment = HeadAlignment::orthogonal;
  const auto converted = convertModel(*base, options, makeCpuOps(), &calibration);
  const T5Config& config = base->config();
  const auto module = AttentionModule::decoderCross;
  const std::string prefix = attentionPrefix(module, 1);
  const AttentionMatrices attention =
      readAttention(converted->parameters(), converted->ops(), prefix);
  const HeadGram gram = keyGram(attention.k, config, module, 1, &calibration);
  std::vector<Matrix> readers;
  for (int head = 0; head < 4; ++head) {
    const Matrix q = attention.q.middleRows(head * config.dKv, config.dKv);
    readers.emplace_back(q * calibration.queryInputs(module, 1).secondMoment * q.transpose());
  }
  const Parameter& weight = converted->parameters().at(prefix + ".k.merge_weight");
  const std::span<const float> weights(weight.view().as<float>(), 4);
  const std::vector<std::int32_t> groups = {0, 0, 1, 1};
  const double least = mergeError(gram, readers, groups, weights);
  CHECK(least < mergeError(gram, readers, groups, std::vector<float>(4, 0.5f)));
  for (std::size_t i = 0; i < 4; ++i) {
    std::vector<float> moved(weights.begin(), weights.end());
    moved[i] += 0.02f;
    CHECK(mergeError(gram, readers, groups, moved) > least);
  }
}

// ---------------------------------------------------------------------------- weighted expansion

ConvertOptions expandedOptions(bool weighted) {
  ConvertOptions options = optionsOf(2);
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
  ConvertOptions pooled = optionsOf(2);
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
  ConvertOptions options = optionsOf(2);
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
    ConvertOptions options = optionsOf(2);
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
