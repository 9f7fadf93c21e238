#include "ops/cuda/runtime/dense_products.h"

#include <library_types.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "ops/cuda/runtime/outcome.h"

namespace wgqa::cuda::runtime {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
constexpr std::size_t kMostPlans = 1024;

int typeOf(ElementType type) {
  switch (type) {
    case ElementType::float32:
      return CUDA_R_32F;
    case ElementType::float16:
      return CUDA_R_16F;
    case ElementType::bfloat16:
      return CUDA_R_16BF;
    case ElementType::int8:
      return CUDA_R_8I;
    case ElementType::int32:
      return CUDA_R_32I;
  }
  return CUDA_R_32F;
}

std::uint32_t alignmentOf(const void* data) {
  constexpr std::uintptr_t kMost = 256;
  const auto address = reinterpret_cast<std::uintptr_t>(data) | kMost;
  return static_cast<std::uint32_t>(address & ~(address - 1));
}

std::string nameOf(const DenseProduct& p) {
  return "a product of " + std::to_string(p.rows) + " x " + std::to_string(p.inner) + " x " +
         std::to_string(p.columns);
}

}  // namespace

ProductKey::ProductKey(const DenseProduct& p)
    : rows(p.rows),
      columns(p.columns),
      inner(p.inner),
      aStride(p.aStride),
      bStride(p.bStride),
      outStride(p.outStride),
      aAlignment(alignmentOf(p.a)),
      bAlignment(alignmentOf(p.b)),
      outAlignment(alignmentOf(p.out)),
      input(p.input),
      output(p.output),
      aTransposed(p.aTransposed),
      bTransposed(p.bTransposed) {}

std::size_t ProductKeyHash::operator()(const ProductKey& key) const {
  std::uint64_t hash = 0;
  for (const std::int64_t part :
       {key.rows, key.columns, key.inner, key.aStride, key.bStride, key.outStride,
        std::int64_t{key.aAlignment}, std::int64_t{key.bAlignment}, std::int64_t{key.outAlignment},
        static_cast<std::int64_t>(key.input), static_cast<std::int64_t>(key.output),
        std::int64_t{key.aTransposed}, std::int64_t{key.bTransposed}}) {
    hash = (std::rotl(hash, 5) ^ static_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15u;
  }
  return hash ^ hash >> 32;
}

// cuBLASLt's matrices are column-major: the product's transpose is computed, out^T = b^T a^T, whose
// matrices are the row-major ones as they lie.
struct DenseProducts::Plan {
  CublasLt::Description description = nullptr;
  CublasLt::Layout first = nullptr;   // of b
  CublasLt::Layout second = nullptr;  // of a
  CublasLt::Layout out = nullptr;
  CublasLt::Algorithm algorithm{};

  Plan() = default;
  ~Plan() {
    const CublasLt& lt = cublasLt();
    for (const CublasLt::Layout each : {first, second, out}) {
      if (each != nullptr) lt.layoutDestroy(each);
    }
    if (description != nullptr) lt.descriptionDestroy(description);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  void describe(const DenseProduct& p) {
    const CublasLt& lt = cublasLt();
    const bool isInteger = p.input == ElementType::int8;
    const int compute = isInteger ? CublasLt::kComputeInt32 : CublasLt::kComputeFloat32;
    requireCublasLt(
        lt.descriptionCreate(&description, compute, isInteger ? CUDA_R_32I : CUDA_R_32F),
        "describing a product");
    setTranspose(CublasLt::kTransposeA, p.bTransposed);
    setTranspose(CublasLt::kTransposeB, p.aTransposed);
    first = layout(p.input, p.columns, p.inner, p.bStride, p.bTransposed);
    second = layout(p.input, p.inner, p.rows, p.aStride, p.aTransposed);
    out = layout(p.output, p.columns, p.rows, p.outStride, false);
  }

  void choose(const DenseProduct& p, CublasLt::Handle handle) {
    const CublasLt& lt = cublasLt();
    CublasLt::Preference made = nullptr;
    requireCublasLt(lt.preferenceCreate(&made), "making a preference");
    const std::unique_ptr<void, decltype(lt.preferenceDestroy)> preference(made,
                                                                           lt.preferenceDestroy);
    const auto set = [&](int attribute, const auto& value) {
      requireCublasLt(lt.preferenceSet(made, attribute, &value, sizeof(value)),
                      "setting a preference");
    };
    set(CublasLt::kMaxWorkspaceBytes, std::uint64_t{kWorkspaceBytes});
    // Parts of a sum may meet in float32 only: the other schemes round them to the result's type,
    // in whose range they need not be.
    set(CublasLt::kReductionSchemes, std::uint32_t{CublasLt::kInComputeType});
    set(CublasLt::kMinAlignmentA, alignmentOf(p.b));
    set(CublasLt::kMinAlignmentB, alignmentOf(p.a));
    set(CublasLt::kMinAlignmentC, alignmentOf(p.out));
    set(CublasLt::kMinAlignmentD, alignmentOf(p.out));
    CublasLt::HeuristicResult result{};
    int found = 0;
    const CublasLt::Status status =
        lt.heuristic(handle, description, first, second, out, out, made, 1, &result, &found);
    const bool isKnown = status != CublasLt::kNotSupported && status != CublasLt::kInvalidValue;
    if (isKnown) requireCublasLt(status, "choosing an algorithm for " + nameOf(p));
    if (!isKnown || found == 0 || result.state != 0) {
      throw Failed(Failure::unsupported,
                   "cuBLASLt has no algorithm for " + nameOf(p) + " of this type and layout");
    }
    algorithm = result.algorithm;
  }

 private:
  void setTranspose(int attribute, bool isTransposed) const {
    const std::int32_t value = isTransposed ? CublasLt::kTransposed : CublasLt::kPlain;
    requireCublasLt(cublasLt().descriptionSet(description, attribute, &value, sizeof(value)),
                    "transposing an operand");
  }
  // Of a matrix that takes part as [rows, columns].
  static CublasLt::Layout layout(ElementType type, std::int64_t rows, std::int64_t columns,
                                 std::int64_t stride, bool isTransposed) {
    if (isTransposed) std::swap(rows, columns);
    CublasLt::Layout result = nullptr;
    // A matrix of one column may have any distance to a next one.
    requireCublasLt(
        cublasLt().layoutCreate(&result, typeOf(type), static_cast<std::uint64_t>(rows),
                                static_cast<std::uint64_t>(columns), std::max(stride, rows)),
        "describing a matrix");
    return result;
  }
};

DenseProducts::DenseProducts(std::int32_t device) : handle_(cublasLtHandle(device)) {
  checkMemory(cudaMalloc(&workspace_, kWorkspaceBytes),
              "allocating the workspace of dense products,", kWorkspaceBytes);
}

DenseProducts::~DenseProducts() {
  plans_.clear();
  cudaFree(workspace_);
}

const DenseProducts::Plan& DenseProducts::planOf(const DenseProduct& product) {
  const ProductKey key(product);
  if (const auto found = plans_.find(key); found != plans_.end()) return *found->second;
  if (plans_.size() == kMostPlans) plans_.clear();
  auto plan = std::make_unique<Plan>();
  plan->describe(product);
  plan->choose(product, handle_);
  return *plans_.emplace(key, std::move(plan)).first->second;
}

void DenseProducts::run(const DenseProduct& p, cudaStream_t stream) {
  if (p.rows == 0 || p.columns == 0) return;
  const Plan& plan = planOf(p);
  const bool isInteger = p.input == ElementType::int8;
  const std::int32_t integers[] = {static_cast<std::int32_t>(std::lrint(p.alpha)),
                                   static_cast<std::int32_t>(std::lrint(p.beta))};
  const void* alpha = isInteger ? static_cast<const void*>(&integers[0]) : &p.alpha;
  const void* beta = isInteger ? static_cast<const void*>(&integers[1]) : &p.beta;
  const CublasLt::Status status = cublasLt().multiply(
      handle_, plan.description, alpha, p.b, plan.first, p.a, plan.second, beta, p.out, plan.out,
      p.out, plan.out, &plan.algorithm, workspace_, kWorkspaceBytes, stream);
  if (status != 0) requireCublasLt(status, nameOf(p));
}

}  // namespace wgqa::cuda::runtime
