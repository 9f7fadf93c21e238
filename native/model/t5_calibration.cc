#include "model/t5_calibration.h"

#include <cmath>

namespace wgqa {
namespace {

// Sums of x and x x^T over the tokens of all batches, in float32 where the backend computes.
class MomentSum {
 public:
  MomentSum(Ops& ops, std::int64_t dModel)
      : ops_(ops),
        memory_(ops.memory(), static_cast<std::size_t>((dModel + 1) * dModel) * sizeof(float)),
        squares_(memory_.as<float>(), DType::float32, {dModel, dModel}),
        sum_(memory_.as<float>() + dModel * dModel, DType::float32, {1, dModel}) {
    ops.zero(squares_);
    ops.zero(sum_);
  }

  // x [tokens, dModel], ones [1, tokens], float32.
  void add(const ConstTensorView& x, const ConstTensorView& ones) {
    ops_.matmul({x.transposed(), x, squares_, 1.0f, 1.0f});
    ops_.matmul({ones, x, sum_, 1.0f, 1.0f});
    tokens_ += x.shape[0];
  }

  InputMoments moments() const {
    const std::int64_t dModel = sum_.shape[1];
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> squares(dModel, dModel);
    Eigen::VectorXf sum(dModel);
    ops_.download(squares_, squares.data());
    ops_.download(sum_, sum.data());
    if (!squares.allFinite()) {
      throw Error(ErrorCode::nonFinite, "an attention input of the calibration is not finite",
                  "calibration");
    }
    const double scale = 1.0 / static_cast<double>(tokens_);
    return {squares.cast<double>() * scale, sum.cast<double>() * scale};
  }

 private:
  Ops& ops_;
  Buffer memory_;
  TensorView squares_;
  TensorView sum_;
  std::int64_t tokens_ = 0;
};

class MomentCollector final : public AttentionInputObserver {
 public:
  MomentCollector(const T5Config& config, Ops& ops)
      : ops_(ops), encoderStates_(ops, config.dModel) {
    for (int module = 0; module < kAttentionModules; ++module) {
      const auto layers = config.layersOf(static_cast<AttentionModule>(module));
      for (std::int64_t layer = 0; layer < layers; ++layer) {
        inputs_[module].emplace_back(ops, config.dModel);
      }
    }
  }

  void observe(AttentionModule module, std::int64_t layer, const ConstTensorView& queryInput,
               const ConstTensorView& keyInput) override {
    add(queryInput, inputs_[static_cast<int>(module)][layer]);
    if (module == AttentionModule::decoderCross && layer == 0) add(keyInput, encoderStates_);
  }

  std::vector<InputMoments> moments(int module) const {
    std::vector<InputMoments> result;
    for (const MomentSum& sum : inputs_[module]) result.push_back(sum.moments());
    return result;
  }
  InputMoments encoderStates() const { return encoderStates_.moments(); }

 private:
  void add(const ConstTensorView& x, MomentSum& sum) { sum.add(widened(x), ones(x.shape[0])); }
  ConstTensorView widened(const ConstTensorView& x) {
    if (x.dtype == DType::float32) return x;
    const TensorView floats = newFloats(widened_, x.shape[0], x.shape[1]);
    ops_.cast({x, floats});
    return floats;
  }
  ConstTensorView ones(std::int64_t tokens) {
    const std::vector<float> host(static_cast<std::size_t>(tokens), 1.0f);
    const TensorView ones = newFloats(ones_, 1, tokens);
    ops_.upload(host.data(), ones);
    return ones;
  }
  TensorView newFloats(Buffer& memory, std::int64_t rows, std::int64_t columns) {
    memory = Buffer(ops_.memory(), static_cast<std::size_t>(rows * columns) * sizeof(float));
    return {memory.as<float>(), DType::float32, {rows, columns}};
  }

  Ops& ops_;
  std::vector<MomentSum> inputs_[kAttentionModules];
  MomentSum encoderStates_;
  Buffer widened_, ones_;
};

}  // namespace

Matrix InputMoments::covariance() const { return secondMoment - mean * mean.transpose(); }

const InputMoments& T5Calibration::queryInputs(AttentionModule module, std::int64_t layer) const {
  return inputs_[static_cast<int>(module)][static_cast<std::size_t>(layer)];
}

const InputMoments& T5Calibration::keyInputs(AttentionModule module, std::int64_t layer) const {
  return module == AttentionModule::decoderCross ? encoderStates_ : queryInputs(module, layer);
}

T5Calibration calibrate(T5Model& model, std::span<const TeacherForcedBatch> batches,
                        const AbortFlag* abort) {
  if (batches.empty()) throw invalidArgument("calibration", "one batch or more", "none");
  T5Calibration calibration(model.config());
  T5Layers layers(model.config(), model.computeDtype(), model.ops().makeAnother());
  MomentCollector collector(model.config(), layers.ops());
  for (const TeacherForcedBatch& batch : batches) {
    layers.arena().reset();
    const TensorView states =
        layers.arena().floats({batch.encoder.tokens(), model.config().dModel});
    T5TeacherForcedPass(model, layers, batch, states, abort, &collector);
  }
  for (int module = 0; module < kAttentionModules; ++module) {
    calibration.inputs_[module] = collector.moments(module);
  }
  calibration.encoderStates_ = collector.encoderStates();
  return calibration;
}

}  // namespace wgqa
