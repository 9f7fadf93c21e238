// What conversion does with heads before it merges them: grouping, alignment, and merge weights
// from least squares, with the calibration that they look at.
#include <algorithm>
#include <cmath>

#include "harness.h"
#include "merge/least_squares.h"
#include "merge/matrix_products.h"
#include "model/t5_calibration.h"
#include "model/t5_convert.h"
#include "model/t5_heads.h"
#include "model_fixture.h"
#include "random_matrices.h"

namespace wgqa::test {
namespace {

// Rotated and reordered in double, stored in float32: as any sum in another order.
constexpr double kFloat32 = 1e-5;

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
          const Matrix turn =
              turned ? randomRotation(headDim, seed++) : Matrix::Identity(headDim, headDim);
          matrix.middleRows(head * headDim, headDim) =
              product(turn, twin.cast<double>()).cast<float>();
        }
      }
    }
  }
  return model;
}

double errorOfPooling(T5Model& model, HeadGrouping grouping, HeadAlignment alignment) {
  const SmallBatch batch;
  ConvertOptions options = conversionTo(2);
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
  ConvertOptions options = conversionTo(2);
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
  options = conversionTo(2);
  CHECK_THROWS(ErrorCode::invalidArgument,
               convertModel(another, options, makeCpuOps(), &calibration));
}

// The weights that conversion stores are those of the heads as they are then: aligned ones here.
WGQA_TEST(conversionLeastSquaresWeightsAreThoseOfTheHeads) {
  const auto base = smallModel(true, makeCpuOps());
  const T5Calibration calibration = calibrationOf(*base);
  ConvertOptions options = conversionTo(2);
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
    readers.push_back(
        productWithTransposed(product(q, calibration.queryInputs(module, 1).secondMoment), q));
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

}  // namespace
}  // namespace wgqa::test
