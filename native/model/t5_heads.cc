#include "model/t5_heads.h"

#include <numeric>

#include "merge/head_alignment.h"
#include "merge/head_groups.h"
#include "merge/head_similarity.h"
#include "merge/matrix_products.h"

namespace wgqa {
namespace {

using FloatMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using HeadOrder = std::vector<std::int32_t>;

Matrix readMatrix(const Parameter& parameter, Ops& ops) {
  FloatMatrix values(parameter.shape()[0], parameter.shape()[1]);
  parameter.copyTo(ops, DType::float32, values.data());
  return values.cast<double>();
}

Parameter matrixParameter(const std::string& name, const Matrix& values) {
  Parameter parameter(name, {values.rows(), values.cols()});
  Eigen::Map<FloatMatrix>(parameter.hostFloats(), values.rows(), values.cols()) =
      values.cast<float>();
  return parameter;
}

Matrix reorderRows(const Matrix& matrix, const HeadOrder& order, std::int64_t headRows) {
  Matrix result(matrix.rows(), matrix.cols());
  for (std::int64_t place = 0; place < std::ssize(order); ++place) {
    result.middleRows(place * headRows, headRows) =
        matrix.middleRows(order[place] * headRows, headRows);
  }
  return result;
}

Matrix reorderColumns(const Matrix& matrix, const HeadOrder& order, std::int64_t headColumns) {
  return reorderRows(matrix.transpose(), order, headColumns).transpose();
}

// Multiplies each head's rows from the left.
void rotateRows(Matrix& matrix, std::span<const Matrix> rotations) {
  std::int64_t row = 0;
  for (const Matrix& rotation : rotations) {
    auto head = matrix.middleRows(row, rotation.rows());
    head = product(rotation, head);
    row += rotation.rows();
  }
}

// The module's layers one after another: a large model's matrices are not all held at once.
class HeadPreparer {
 public:
  HeadPreparer(const T5Config& config, AttentionModule module, const HeadPreparation& preparation,
               const ParameterSet& source, Ops& ops, const AbortFlag* abort)
      : config_(config),
        module_(module),
        preparation_(preparation),
        source_(source),
        ops_(ops),
        abort_(abort) {}

  ParameterSet run() {
    if (preparation_.grouping == HeadGrouping::similarity) chooseOrders();
    ParameterRewrite rewrite;
    for (std::int64_t layer = 0; layer < config_.layersOf(module_); ++layer) {
      throwIfAborted(abort_);
      prepareLayer(layer, rewrite);
    }
    if (sharesOrder() && !orders_.empty()) reorderBias(rewrite);
    return rewrite.apply(source_);
  }

 private:
  bool sharesOrder() const { return module_ != AttentionModule::decoderCross; }
  bool isAligned() const { return preparation_.alignment == HeadAlignment::orthogonal; }

  // Both projections count alike, whatever their scale.
  void chooseOrders() {
    const std::int64_t layers = config_.layersOf(module_);
    std::vector<Matrix> distances;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      throwIfAborted(abort_);
      const AttentionMatrices attention = read(layer);
      distances.push_back(headDistances(keyGramOf(attention, layer), isAligned()) +
                          headDistances(valueGramOf(attention, layer), isAligned()));
    }
    if (sharesOrder()) {
      for (std::int64_t layer = 1; layer < layers; ++layer) distances[0] += distances[layer];
      distances.resize(1);
    }
    for (std::size_t i = 0; i < distances.size(); ++i) {
      const std::int64_t kvHeads = config_.module(module_).kvHeadsIn(static_cast<std::int64_t>(i));
      orders_.push_back(similarHeadOrder(distances[i], kvHeads));
    }
  }

  void prepareLayer(std::int64_t layer, ParameterRewrite& rewrite) const {
    const bool isShared = config_.module(module_).kvHeadsIn(layer) < config_.heads;
    if (orders_.empty() && !isShared) return;  // each head is merged with itself alone
    AttentionMatrices attention = read(layer);
    if (!orders_.empty()) reorder(attention, orders_[sharesOrder() ? 0 : layer]);
    if (isAligned()) align(attention, layer);
    const std::string prefix = attentionPrefix(module_, layer);
    rewrite.replace(matrixParameter(prefix + ".q.weight", attention.q));
    rewrite.replace(matrixParameter(prefix + ".k.weight", attention.k));
    rewrite.replace(matrixParameter(prefix + ".v.weight", attention.v));
    rewrite.replace(matrixParameter(prefix + ".o.weight", attention.o));
  }

  void reorder(AttentionMatrices& attention, const HeadOrder& order) const {
    attention.q = reorderRows(attention.q, order, config_.dKv);
    attention.k = reorderRows(attention.k, order, config_.dKv);
    attention.v = reorderRows(attention.v, order, config_.dKv);
    attention.o = reorderColumns(attention.o, order, config_.dKv);
  }

  void align(AttentionMatrices& attention, std::int64_t layer) const {
    const auto groups = neighbouringGroups(config_.heads, config_.module(module_).kvHeadsIn(layer));
    const std::vector<Matrix> keys = alignHeads(keyGramOf(attention, layer), groups);
    rotateRows(attention.k, keys);
    rotateRows(attention.q, keys);
    const std::vector<Matrix> values = alignHeads(valueGramOf(attention, layer), groups);
    rotateRows(attention.v, values);
    Matrix columns = attention.o.transpose();
    rotateRows(columns, values);
    attention.o = columns.transpose();
  }

  void reorderBias(ParameterRewrite& rewrite) const {
    const Parameter& bias =
        source_.at(attentionPrefix(module_, 0) + ".relative_attention_bias.weight");
    rewrite.replace(
        matrixParameter(bias.name(), reorderColumns(readMatrix(bias, ops_), orders_[0], 1)));
  }

  AttentionMatrices read(std::int64_t layer) const {
    return readAttention(source_, ops_, attentionPrefix(module_, layer));
  }
  HeadGram keyGramOf(const AttentionMatrices& attention, std::int64_t layer) const {
    return keyGram(attention.k, config_, module_, layer, preparation_.calibration);
  }
  HeadGram valueGramOf(const AttentionMatrices& attention, std::int64_t layer) const {
    return valueGram(attention.v, config_, module_, layer, preparation_.calibration);
  }

  const T5Config& config_;
  AttentionModule module_;
  HeadPreparation preparation_;
  const ParameterSet& source_;
  Ops& ops_;
  const AbortFlag* abort_;
  std::vector<HeadOrder> orders_;  // one, or one per layer; empty: as they are
};

}  // namespace

AttentionMatrices readAttention(const ParameterSet& parameters, Ops& ops,
                                const std::string& prefix) {
  const auto matrix = [&](const char* name) {
    return readMatrix(parameters.at(prefix + name), ops);
  };
  return {matrix(".q.weight"), matrix(".k.weight"), matrix(".v.weight"), matrix(".o.weight")};
}

HeadGram keyGram(const Matrix& k, const T5Config& config, AttentionModule module,
                 std::int64_t layer, const T5Calibration* calibration) {
  if (calibration == nullptr) return {k, config.dKv, nullptr};
  const Matrix inputs = calibration->keyInputs(module, layer).covariance();
  return {k, config.dKv, &inputs};
}

HeadGram valueGram(const Matrix& v, const T5Config& config, AttentionModule module,
                   std::int64_t layer, const T5Calibration* calibration) {
  if (calibration == nullptr) return {v, config.dKv, nullptr};
  return {v, config.dKv, &calibration->keyInputs(module, layer).secondMoment};
}

ParameterSet prepareHeads(const T5Config& target, AttentionModule module,
                          const HeadPreparation& preparation, const ParameterSet& source, Ops& ops,
                          const AbortFlag* abort) {
  return HeadPreparer(target, module, preparation, source, ops, abort).run();
}

}  // namespace wgqa
