#include "test/ops_tensors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/philox.h"
#include "test/harness.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) static_cast<void>(0)
#endif

namespace wgqa::test {
namespace {

constexpr std::byte kGuard{0xff};

bool isWritten(Role role) { return role != Role::input; }

// Rows of the last dimension, each followed by its gap.
std::int64_t rowsOf(const TensorSpec& spec) {
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < spec.shape.size(); ++i) rows *= spec.shape[i];
  return rows;
}

TensorView viewOf(std::byte* data, const TensorSpec& spec) {
  TensorView view;
  view.data = data;
  view.dtype = spec.dtype;
  view.rank = static_cast<int>(spec.shape.size());
  std::int64_t stride = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    view.shape[i] = spec.shape[i];
    view.strides[i] = stride;
    stride *= spec.shape[i] + (i == view.rank - 1 ? spec.rowGap : 0);
  }
  return view;
}

bool allGuard(const std::byte* begin, std::int64_t bytes) {
  return std::all_of(begin, begin + bytes, [](std::byte value) { return value == kGuard; });
}

// Equal, or both NaN: then there is no error to measure.
bool agree(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

struct Worst {
  std::size_t index = 0;
  double error = 0.0;  // NaN where one side only is NaN
  double scale = 0.0;  // largest finite magnitude expected
};

Worst worstError(const Wide& actual, const Wide& expected) {
  Worst worst;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isfinite(expected[i])) worst.scale = std::max(worst.scale, std::abs(expected[i]));
    if (agree(actual[i], expected[i]) || std::isnan(worst.error)) continue;
    const double error = std::abs(actual[i] - expected[i]);
    if (!(error <= worst.error)) worst = {i, error, worst.scale};
  }
  return worst;
}

struct Allowed {
  double tolerance;
  double magnitude;
};

void checkClose(const std::string& name, const Wide& actual, const Wide& expected,
                const Allowed& allowed) {
  if (actual.size() != expected.size()) return fail(name + ": sizes differ");
  const Worst worst = worstError(actual, expected);
  const double scale = std::max(worst.scale, allowed.magnitude);
  if (worst.error <= allowed.tolerance * scale) return;
  fail(name + "[" + std::to_string(worst.index) + "]: got " + describe(actual[worst.index]) +
       ", expected " + describe(expected[worst.index]) + "; error " + describe(worst.error) +
       " exceeds " + describe(allowed.tolerance) + " of the largest magnitude " + describe(scale));
}

}  // namespace

std::uint32_t Random::bits() {
  const std::uint32_t index = drawn_++;
  return RandomField{seed_, 0}.at(0, index);
}

std::int64_t Random::integer(std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(high - low + 1));
}

double Random::normal() {
  double sum = -2.0;
  for (const std::uint32_t word : philox(seed_, {drawn_++, 0, 1, 0})) sum += uniformFromBits(word);
  return std::sqrt(3.0) * sum;
}

Fill normal(double deviation) {
  return [deviation](Random& random) { return deviation * random.normal(); };
}

Fill integers(std::int64_t limit) {
  return [limit](Random& random) { return static_cast<double>(random.integer(-limit, limit)); };
}

double toleranceOf(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return 1e-5;
    case DType::bfloat16:
      return 0x1p-8;
    case DType::float16:
      return 0x1p-11;
    case DType::int32:
    case DType::int8:
      return 0.0;
  }
  return 0.0;
}

GuardedTensor::GuardedTensor(std::string name, Role role, const TensorSpec& spec,
                             std::int64_t guardBytes)
    : name_(std::move(name)), role_(role), guardBytes_(guardBytes) {
  payloadBytes_ = rowsOf(spec) * (spec.shape.back() + spec.rowGap) *
                  static_cast<std::int64_t>(bytesOf(spec.dtype));
  memory_.assign(payloadBytes_ + 2 * guardBytes, kGuard);
  view_ = viewOf(memory_.data() + guardBytes, spec);
  ASAN_POISON_MEMORY_REGION(memory_.data(), guardBytes_);
  ASAN_POISON_MEMORY_REGION(memory_.data() + guardBytes_ + payloadBytes_, guardBytes_);
}

GuardedTensor::~GuardedTensor() { ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size()); }

std::string GuardedTensor::bits() const {
  return {reinterpret_cast<const char*>(memory_.data() + guardBytes_),
          static_cast<std::size_t>(payloadBytes_)};
}

const TensorView& GuardedTensor::place(Ops& ops) {
  placed_ = view_;
  if (ops.memory().isHost()) return placed_;
  copy_ = Buffer(ops.memory(), memory_.size());
  const TensorView all(copy_.as<void>(), DType::int8, {std::ssize(memory_)});
  ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size());
  ops.upload(memory_.data(), all);
  placed_.data = copy_.as<std::byte>() + guardBytes_;
  return placed_;
}

void GuardedTensor::collect(Ops& ops) {
  if (copy_.bytes() == 0) return;
  ops.download(TensorView(copy_.as<void>(), DType::int8, {std::ssize(memory_)}), memory_.data());
}

void GuardedTensor::remember() { before_ = bits(); }

std::string GuardedTensor::damage() const {
  const std::byte* payload = memory_.data() + guardBytes_;
  ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size());
  if (!allGuard(memory_.data(), guardBytes_)) return "written before its first element";
  if (!allGuard(payload + payloadBytes_, guardBytes_)) return "written after its last element";
  if (role_ == Role::input) return bits() == before_ ? "" : "an input, but written to";
  const auto elementBytes = static_cast<std::int64_t>(bytesOf(view_.dtype));
  const std::int64_t columns = view_.shape[view_.rank - 1];
  const std::int64_t stride = view_.rank > 1 ? view_.strides[view_.rank - 2] : columns;
  for (std::int64_t at = 0; at < payloadBytes_ / elementBytes;
       at += std::max<std::int64_t>(1, stride)) {
    if (!allGuard(payload + (at + columns) * elementBytes, (stride - columns) * elementBytes)) {
      return "written between its rows";
    }
  }
  if (role_ == Role::cache) return "";
  const Wide values = reference::load(view_);
  const bool anyNaN = std::any_of(values.begin(), values.end(), [](double v) { return v != v; });
  return anyNaN ? "NaN, or not wholly written" : "";
}

GuardedTensor& CaseTensors::add(const std::string& name, Role role, const TensorSpec& spec) {
  constexpr std::int64_t kAligned = 64;
  const std::int64_t misalign =
      spec.aligned || tensors_.size() % 2 == 0 ? 0 : static_cast<std::int64_t>(bytesOf(spec.dtype));
  tensors_.push_back(std::make_unique<GuardedTensor>(name, role, spec, kAligned + misalign));
  return *tensors_.back();
}

ConstTensorView CaseTensors::input(const std::string& name, const TensorSpec& spec,
                                   const Fill& fill) {
  GuardedTensor& tensor = add(name, Role::input, spec);
  Wide values(tensor.view().elements());
  for (double& value : values) value = fill(random_);
  reference::store(values, tensor.view());
  tensor.remember();
  return tensor.place(ops_);
}

ConstTensorView CaseTensors::input(const std::string& name, const TensorSpec& spec,
                                   const Wide& values) {
  GuardedTensor& tensor = add(name, Role::input, spec);
  reference::store(values, tensor.view());
  tensor.remember();
  return tensor.place(ops_);
}

TensorView CaseTensors::output(const std::string& name, const TensorSpec& spec) {
  return add(name, Role::output, spec).place(ops_);
}

TensorView CaseTensors::update(const std::string& name, const TensorSpec& spec, const Fill& fill) {
  GuardedTensor& tensor = add(name, Role::update, spec);
  Wide values(tensor.view().elements());
  for (double& value : values) value = fill(random_);
  reference::store(values, tensor.view());
  return tensor.place(ops_);
}

TensorView CaseTensors::cache(const std::string& name, const TensorSpec& spec) {
  return add(name, Role::cache, spec).place(ops_);
}

Wide CaseTensors::values(const ConstTensorView& input) const {
  for (const auto& tensor : tensors_) {
    if (tensor->placed().data == input.data) return reference::load(tensor->view());
  }
  return {};
}

void CaseTensors::collect() {
  for (const auto& tensor : tensors_) tensor->collect(ops_);
}

void CaseTensors::scalar(const std::string& name, double value) {
  scalars_.push_back({name, value});
}

void CaseTensors::checkDamage(const std::string& who) const {
  for (const auto& tensor : tensors_) {
    const std::string damage = tensor->damage();
    if (!damage.empty()) fail(who + ": " + tensor->name() + " is " + damage);
  }
}

void CaseTensors::checkAgainst(const CaseTensors& expected, double slack, double magnitude) const {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (!isWritten(tensors_[i]->role())) continue;
    const TensorView& view = tensors_[i]->view();
    checkClose(tensors_[i]->name(), reference::load(view),
               reference::load(expected.tensors_[i]->view()),
               {slack * toleranceOf(view.dtype), magnitude});
  }
  for (std::size_t i = 0; i < scalars_.size(); ++i) {
    checkClose(scalars_[i].name, {scalars_[i].value}, {expected.scalars_[i].value},
               {slack * toleranceOf(DType::float32), magnitude});
  }
}

void CaseTensors::checkSameBits(const CaseTensors& other) const {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (tensors_[i]->bits() != other.tensors_[i]->bits()) {
      fail(tensors_[i]->name() + ": other bits with another number of threads");
    }
  }
  for (std::size_t i = 0; i < scalars_.size(); ++i) {
    if (scalars_[i].value != other.scalars_[i].value) {
      fail(scalars_[i].name + ": another value with another number of threads");
    }
  }
}

}  // namespace wgqa::test
