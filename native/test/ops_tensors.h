// Tensors for testing operations: each in its own allocation between guard bytes, outputs filled
// with NaN, inputs remembered so that a write to one is noticed.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "ops/ops.h"
#include "ops/reference/wide.h"

namespace wgqa::test {

using reference::Wide;

/// A seeded sequence of random numbers, the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}
  std::uint32_t bits();
  /// Uniform in [low, high].
  std::int64_t integer(std::int64_t low, std::int64_t high);
  /// Mean 0, standard deviation 1, at most 3.5: the sum of four uniforms.
  double normal();
  bool coin() { return integer(0, 1) == 1; }
  template <typename T>
  T oneOf(std::initializer_list<T> choices) {
    return choices.begin()[integer(0, static_cast<std::int64_t>(choices.size()) - 1)];
  }

 private:
  std::uint64_t seed_;
  std::uint32_t drawn_ = 0;
};

/// Draws one element of a tensor.
using Fill = std::function<double(Random&)>;
Fill normal(double deviation = 1.0);
/// Integers in [-limit, limit]: sums and products of a few are exact in float32.
Fill integers(std::int64_t limit);

/// Shape of a tensor under test; `rowGap` elements that nothing may touch end each row. Every other
/// tensor of a case is aligned to its element only, as a row of a larger tensor may be, unless it
/// is `aligned`.
struct TensorSpec {
  DType dtype = DType::float32;
  std::vector<std::int64_t> shape;
  std::int64_t rowGap = 0;
  bool aligned = false;
};
inline TensorSpec float32Of(std::vector<std::int64_t> shape) {
  return {DType::float32, std::move(shape)};
}

enum class Role {
  input,   // must not change
  output,  // starts as NaN, must end without
  update,  // starts with values: "+=" tensors, tensors that an operation overwrites in place
  cache,   // starts as NaN and may keep it where nothing is written
};

/// One tensor between guard bytes. Guards and gaps are all ones: NaN in every floating type. It
/// lies on the host, and for a backend that has memory of its own a copy of it, guards included,
/// there.
class GuardedTensor {
 public:
  GuardedTensor(std::string name, Role role, const TensorSpec& spec, std::int64_t guardBytes);
  ~GuardedTensor();
  GuardedTensor(const GuardedTensor&) = delete;
  GuardedTensor& operator=(const GuardedTensor&) = delete;

  const std::string& name() const { return name_; }
  Role role() const { return role_; }
  const TensorView& view() const { return view_; }
  /// Copies it to where the operations of `ops` read and write; returns the view of that.
  const TensorView& place(Ops& ops);
  const TensorView& placed() const { return placed_; }
  /// Copies back what place() copied.
  void collect(Ops& ops);
  /// Takes what the tensor holds now as what an input must still hold at the end.
  void remember();
  /// What was damaged, or an empty string.
  std::string damage() const;
  /// The raw bytes of the tensor.
  std::string bits() const;

 private:
  std::string name_;
  Role role_;
  std::vector<std::byte> memory_;
  std::int64_t guardBytes_;
  std::int64_t payloadBytes_;
  TensorView view_;
  TensorView placed_;
  Buffer copy_;
  std::string before_;
};

/// The tensors and scalar results of one run of one case. Two instances of one seed hold the same
/// inputs, so a case run on two backends differs in nothing but the backend.
class CaseTensors {
 public:
  /// They lie where the operations of `ops` want them.
  CaseTensors(std::uint64_t seed, Ops& ops) : random_(seed), ops_(ops) {}

  Random& random() { return random_; }
  ConstTensorView input(const std::string& name, const TensorSpec& spec, const Fill& fill);
  ConstTensorView input(const std::string& name, const TensorSpec& spec, const Wide& values);
  TensorView output(const std::string& name, const TensorSpec& spec);
  TensorView update(const std::string& name, const TensorSpec& spec, const Fill& fill);
  TensorView cache(const std::string& name, const TensorSpec& spec);
  /// A result that is a number.
  void scalar(const std::string& name, double value);

  /// The values of an input.
  Wide values(const ConstTensorView& input) const;
  /// After the run: brings the results to the host.
  void collect();

  /// Fails the running test for a damaged guard, a changed input, or NaN in an output.
  void checkDamage(const std::string& who) const;
  /// Fails the running test where a result differs by more than `slack` times its type's tolerance
  /// of its tensor's largest magnitude, or of `magnitude` if that is larger.
  void checkAgainst(const CaseTensors& expected, double slack, double magnitude) const;
  /// Fails the running test where a result differs in any bit.
  void checkSameBits(const CaseTensors& other) const;

 private:
  GuardedTensor& add(const std::string& name, Role role, const TensorSpec& spec);

  struct Scalar {
    std::string name;
    double value;
  };
  Random random_;
  Ops& ops_;
  std::vector<std::unique_ptr<GuardedTensor>> tensors_;
  std::vector<Scalar> scalars_;
};

/// Largest difference between an operation's result and the reference's, relative to the largest
/// magnitude of the tensor. The one table of tolerances:
///   float32   1e-5: the rounding of a float32 sum of n terms grows as sqrt(n) * 2^-24 (n = 32768:
///             1.1e-5 of the terms' magnitude), and vector exponentials are good to a few 2^-24.
///   bfloat16  2^-8: a result on either side of a rounding boundary, one unit in the last place.
///   float16   2^-11: likewise.
/// A case multiplies them by its `slack`, with the reason beside it.
double toleranceOf(DType dtype);

}  // namespace wgqa::test
