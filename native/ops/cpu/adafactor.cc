#include <cmath>

#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/adafactor.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

#ifndef WGQA_OPS_CPU_ADAFACTOR_CC_
#define WGQA_OPS_CPU_ADAFACTOR_CC_
namespace wgqa::cpu {

/// One parameter's share of a step. The update of an element is gradient * row[i] * column[j] if
/// factored, else gradient / sqrt(moment).
struct AdafactorStep {
  const Adafactor* options;
  const Adafactor::Parameter* parameter;
  float oldShare;  // of the moments: decay_t of the paper
  float newShare;
  float* rowFactor;     // [rows], null if unfactored
  float* columnFactor;  // [columns], null if unfactored

  std::int64_t rows() const { return parameter->value.shape[0]; }
  std::int64_t columns() const { return parameter->value.shape[1]; }
};

}  // namespace wgqa::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Elements whose squares are summed in float32 before the sum goes on in double.
constexpr std::int64_t kStretch = 1024;

HWY_INLINE FloatVector inverseRoot(FloatVector x) {
  return hn::Div(hn::Set(FloatTag(), 1.0f), hn::Sqrt(x));
}

// For rows [begin, end): rowMean = mean of gradient^2 + epsilon, columnSum += the same, by column.
void adafactorSquares(const AdafactorStep& s, std::int64_t begin, std::int64_t end, float* rowMean,
                      float* HWY_RESTRICT columnSum) {
  const FloatTag d;
  const std::int64_t columns = s.columns();
  const FloatVector scale = hn::Set(d, s.options->gradScale);
  const FloatVector epsilon = hn::Set(d, s.options->gradEpsilon);
  std::fill_n(columnSum, columns, 0.0f);
  for (std::int64_t row = begin; row < end; ++row) {
    const float* gradient = s.parameter->grad.as<float>() + row * columns;
    double total = 0.0;
    for (std::int64_t from = 0; from < columns; from += kStretch) {
      const std::int64_t to = std::min(from + kStretch, columns);
      FloatVector sum = hn::Zero(d);
      for (std::int64_t i = from; i < to; i += hn::Lanes(d)) {
        const std::size_t valid = lanesLeft(to, i);
        const FloatVector grad = hn::Mul(load(gradient + i, valid), scale);
        const FloatVector square = hn::MulAdd(grad, grad, epsilon);
        sum = hn::Add(sum, hn::IfThenElseZero(hn::FirstN(d, valid), square));
        store(hn::Add(load(columnSum + i, valid), square), columnSum + i, valid);
      }
      total += sumOfLanes(sum);
    }
    rowMean[row] = static_cast<float>(total / static_cast<double>(columns));
  }
}

// moment = oldShare * moment + newShare * (gradient^2 + epsilon) for rows [begin, end).
void adafactorMoment(const AdafactorStep& s, std::int64_t begin, std::int64_t end) {
  const FloatTag d;
  const FloatVector scale = hn::Set(d, s.options->gradScale);
  const FloatVector epsilon = hn::Set(d, s.options->gradEpsilon);
  const FloatVector oldShare = hn::Set(d, s.oldShare);
  const FloatVector newShare = hn::Set(d, s.newShare);
  const float* gradient = s.parameter->grad.as<float>();
  float* moment = s.parameter->moment.as<float>();
  for (std::int64_t i = begin * s.columns(); i < end * s.columns(); i += hn::Lanes(d)) {
    const std::size_t valid = lanesLeft(end * s.columns(), i);
    const FloatVector grad = hn::Mul(load(gradient + i, valid), scale);
    const FloatVector square = hn::MulAdd(grad, grad, epsilon);
    const FloatVector kept = hn::Mul(load(moment + i, valid), oldShare);
    store(hn::MulAdd(square, newShare, kept), moment + i, valid);
  }
}

// The update of elements [column, column + valid) of a row, before clipping.
HWY_INLINE FloatVector adafactorUpdate(const AdafactorStep& s, std::int64_t row,
                                       std::int64_t column, std::size_t valid) {
  const FloatTag d;
  const std::int64_t at = row * s.columns() + column;
  const FloatVector grad =
      hn::Mul(load(s.parameter->grad.as<float>() + at, valid), hn::Set(d, s.options->gradScale));
  if (s.rowFactor == nullptr) {
    const FloatVector moment = load(s.parameter->moment.as<float>() + at, valid);
    const FloatVector update = hn::Mul(grad, inverseRoot(moment));
    return hn::IfThenElseZero(hn::FirstN(d, valid), update);
  }
  const FloatVector columnFactor = load(s.columnFactor + column, valid);
  return hn::Mul(grad, hn::Mul(hn::Set(d, s.rowFactor[row]), columnFactor));
}

// The sum of squared updates of rows [begin, end).
double adafactorUpdateSquares(const AdafactorStep& s, std::int64_t begin, std::int64_t end) {
  const FloatTag d;
  double total = 0.0;
  for (std::int64_t row = begin; row < end; ++row) {
    for (std::int64_t from = 0; from < s.columns(); from += kStretch) {
      const std::int64_t to = std::min(from + kStretch, s.columns());
      FloatVector sum = hn::Zero(d);
      for (std::int64_t i = from; i < to; i += hn::Lanes(d)) {
        const FloatVector update = adafactorUpdate(s, row, i, lanesLeft(to, i));
        sum = hn::MulAdd(update, update, sum);
      }
      total += sumOfLanes(sum);
    }
  }
  return total;
}

// value = keep * value - rate * update for rows [begin, end).
void adafactorApply(const AdafactorStep& s, float keep, float rate, std::int64_t begin,
                    std::int64_t end) {
  const FloatTag d;
  const FloatVector keepVec = hn::Set(d, keep);
  const FloatVector rateVec = hn::Set(d, rate);
  for (std::int64_t row = begin; row < end; ++row) {
    float* value = s.parameter->value.as<float>() + row * s.columns();
    for (std::int64_t i = 0; i < s.columns(); i += hn::Lanes(d)) {
      const std::size_t valid = lanesLeft(s.columns(), i);
      const FloatVector kept = hn::Mul(load(value + i, valid), keepVec);
      store(hn::NegMulAdd(adafactorUpdate(s, row, i, valid), rateVec, kept), value + i, valid);
    }
  }
}

double adafactorValueSquares(const AdafactorStep& s, std::int64_t begin, std::int64_t end) {
  return sumOfSquares(s.parameter->value.as<float>() + begin * s.columns(),
                      (end - begin) * s.columns());
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {

HWY_EXPORT(adafactorSquares);
HWY_EXPORT(adafactorMoment);
HWY_EXPORT(adafactorUpdateSquares);
HWY_EXPORT(adafactorApply);
HWY_EXPORT(adafactorValueSquares);

// Bounds the memory of the column sums, of which each chunk has its own.
constexpr std::int64_t kMaxChunks = 256;

// Rows of a parameter in chunks that depend on its shape only.
struct RowChunks {
  std::int64_t rows;
  std::int64_t size;

  RowChunks(std::int64_t rowCount, std::int64_t columns)
      : rows(rowCount), size(std::max(rowGrain(columns), divideUp(rowCount, kMaxChunks))) {}
  std::int64_t count() const { return divideUp(rows, size); }

  template <class Body>
  void forEach(const Body& body) const {
    parallelTasks(count(), [&](std::int64_t chunk, int) {
      body(chunk, chunk * size, std::min((chunk + 1) * size, rows));
    });
  }

  /// The sum of rowsSum(begin, end) over all chunks, in their order.
  template <class RowsSum>
  double sum(Scratch& scratch, const RowsSum& rowsSum) const {
    double* partial = scratch.shared<double>(SharedScratch::fourth, count());
    forEach([&](std::int64_t chunk, std::int64_t begin, std::int64_t end) {
      partial[chunk] = rowsSum(begin, end);
    });
    double total = 0.0;
    for (std::int64_t chunk = 0; chunk < count(); ++chunk) total += partial[chunk];
    return total;
  }
};

// Algorithm 4's moments of rows and columns, and the factors of the update that follow from them.
void updateFactoredMoments(AdafactorStep& s, const RowChunks& chunks, Scratch& scratch) {
  const std::int64_t rows = s.rows();
  const std::int64_t columns = s.columns();
  float* partial = scratch.shared<float>(SharedScratch::first, chunks.count() * columns);
  s.rowFactor = scratch.shared<float>(SharedScratch::second, rows);
  s.columnFactor = scratch.shared<float>(SharedScratch::third, columns);
  chunks.forEach([&](std::int64_t chunk, std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(adafactorSquares)
    (s, begin, end, s.rowFactor, partial + chunk * columns);
  });
  float* rowMoment = s.parameter->rowMoment.as<float>();
  double total = 0.0;
  for (std::int64_t i = 0; i < rows; ++i) {
    rowMoment[i] = s.oldShare * rowMoment[i] + s.newShare * s.rowFactor[i];
    total += rowMoment[i];
  }
  const auto rowMean = static_cast<float>(total / static_cast<double>(rows));
  for (std::int64_t i = 0; i < rows; ++i) s.rowFactor[i] = 1.0f / std::sqrt(rowMoment[i] / rowMean);
  float* columnMoment = s.parameter->columnMoment.as<float>();
  for (std::int64_t j = 0; j < columns; ++j) {
    double sum = 0.0;
    for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
      sum += partial[chunk * columns + j];
    }
    const auto mean = static_cast<float>(sum / static_cast<double>(rows));
    columnMoment[j] = s.oldShare * columnMoment[j] + s.newShare * mean;
    s.columnFactor[j] = 1.0f / std::sqrt(columnMoment[j]);
  }
}

void updateParameter(const Adafactor& options, const Adafactor::Parameter& parameter,
                     Scratch& scratch) {
  const double newShare = std::pow(static_cast<double>(options.step), double{options.decayRate});
  AdafactorStep s{
      &options, &parameter, static_cast<float>(1.0 - newShare), static_cast<float>(newShare),
      nullptr,  nullptr};
  const RowChunks chunks(s.rows(), s.columns());
  const auto elements = static_cast<double>(s.rows() * s.columns());
  if (parameter.moment.given()) {
    chunks.forEach([&](std::int64_t, std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(adafactorMoment)(s, begin, end);
    });
  } else {
    updateFactoredMoments(s, chunks, scratch);
  }
  double rate = options.learningRate;
  if (options.scaleByParameter) {
    const double squares = chunks.sum(scratch, [&](std::int64_t begin, std::int64_t end) {
      return HWY_DYNAMIC_DISPATCH(adafactorValueSquares)(s, begin, end);
    });
    rate *= std::max(double{options.parameterEpsilon}, std::sqrt(squares / elements));
  }
  const double squares = chunks.sum(scratch, [&](std::int64_t begin, std::int64_t end) {
    return HWY_DYNAMIC_DISPATCH(adafactorUpdateSquares)(s, begin, end);
  });
  const double clip = std::max(1.0, std::sqrt(squares / elements) / options.clipThreshold);
  const auto keep = static_cast<float>(1.0 - parameter.weightDecay * rate);
  chunks.forEach([&](std::int64_t, std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(adafactorApply)(s, keep, static_cast<float>(rate / clip), begin, end);
  });
}

}  // namespace

void adafactor(const Adafactor& p, Scratch& scratch) {
  for (const Adafactor::Parameter& parameter : p.parameters) {
    if (parameter.value.elements() > 0) updateParameter(p, parameter, scratch);
  }
}

}  // namespace wgqa::cpu
#endif
