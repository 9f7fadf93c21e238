// Products with int8 weights on every instruction set of this machine: the same bits.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "isa/instruction_set.h"
#include "test/harness.h"
#include "test/ops_tensors.h"

namespace wgqa::test {
namespace {

struct Shape {
  std::int64_t rows, inFeatures, outFeatures;
};

std::string describe(const Shape& shape) {
  return std::to_string(shape.rows) + " x " + std::to_string(shape.inFeatures) + " to " +
         std::to_string(shape.outFeatures);
}

std::vector<float> filled(std::int64_t count, const Fill& fill, Random& random) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(fill(random));
  return values;
}

// What a kernel that adds pairs of products in 16 bits gets wrong: every integer is 127 or -127.
double extreme(Random& random) { return random.integer(0, 3) == 0 ? -2.0 : 2.0; }

class Product {
 public:
  Product(const Shape& shape, const Fill& fill, Random& random)
      : shape_(shape),
        x_(filled(shape.rows * shape.inFeatures, fill, random)),
        weight_(filled(shape.outFeatures * shape.inFeatures, fill, random)),
        out_(filled(shape.rows * shape.outFeatures, normal(), random)) {}

  std::vector<float> on(InstructionSet set) const {
    const InstructionSetLimit limit(set);
    const auto ops = makeCpuOps();
    const auto packed = ops->pack(
        {weight_.data(), DType::float32, {shape_.outFeatures, shape_.inFeatures}}, DType::int8);
    std::vector<float> out = out_;
    const Linear product{.x = {x_.data(), DType::float32, {shape_.rows, shape_.inFeatures}},
                         .weight = packed.get(),
                         .out = {out.data(), DType::float32, {shape_.rows, shape_.outFeatures}},
                         .alpha = 0.7f,
                         .beta = 0.3f};
    ops->linear({&product, 1});
    return out;
  }

 private:
  Shape shape_;
  std::vector<float> x_, weight_, out_;
};

}  // namespace

WGQA_TEST(int8ProductsAreTheSameOnEveryInstructionSet) {
  Random random(20);
  for (const Shape& shape : {Shape{1, 768, 200}, Shape{6, 100, 70}, Shape{7, 1, 1},
                             Shape{8, 1030, 65}, Shape{17, 24, 40}, Shape{300, 515, 130}}) {
    for (const Fill& fill : {normal(), Fill(extreme)}) {
      const Product product(shape, fill, random);
      const std::vector<float> expected = product.on(InstructionSet::baseline);
      for (const InstructionSet set : usableInstructionSets()) {
        const std::vector<float> got = product.on(set);
        const bool same = std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0;
        if (!same) note(describe(shape) + " differs with " + std::string(nameOf(set)));
        CHECK(same);
      }
    }
  }
}

}  // namespace wgqa::test
