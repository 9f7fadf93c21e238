// A training step that benchmarks run: its shape, the dense products in it, and the step itself.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "train/trainer.h"

namespace wgqa::bench {

struct TrainingShape {
  T5Config config;
  std::int64_t sequences = 8;
  std::int64_t sourceTokens = 128;
  std::int64_t targetTokens = 64;

  std::int64_t tokens() const { return sequences * (sourceTokens + targetTokens); }
};

/// Multi-head T5 v1.0 of these sizes, its vocabulary 32,128.
T5Config t5Config(std::int64_t layers, std::int64_t heads, std::int64_t dModel, std::int64_t dFf);

struct TrainingProduct {
  std::int64_t m, k, n;
  std::int64_t count;  // in a step

  double flops() const { return 2.0 * static_cast<double>(m * k * n * count); }
};

/// Forward and backward of every weight; attention's own products are not among them.
std::vector<TrainingProduct> productsOfStep(const TrainingShape& shape);

double flopsOf(const std::vector<TrainingProduct>& products);

/// A batch of full rows and the model that learns from it, dropout and AdamW included.
class TrainingProblem {
 public:
  TrainingProblem(const TrainingShape& shape, std::unique_ptr<Ops> ops,
                  const TrainingOptions& training);

  void run();

 private:
  void addRow(std::int64_t row, std::int64_t length, std::vector<std::int32_t>& ids,
              std::vector<std::int32_t>& offsets) const;

  T5Model model_;
  Trainer trainer_;
  std::vector<std::int32_t> source_, target_, labels_;
  std::vector<std::int32_t> sourceOffsets_ = {0};
  std::vector<std::int32_t> targetOffsets_ = {0};
};

}  // namespace wgqa::bench
