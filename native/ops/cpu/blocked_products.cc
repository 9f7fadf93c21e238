#include "ops/cpu/blocked_products.h"

#include <omp.h>

#include <algorithm>
#include <string>

#include "base/parallel.h"
#include "ops/cpu/cast.h"
#include "ops/cpu/grain.h"

namespace wgqa::cpu {
namespace {

using dnnl::memory;
using Type = dnnl::memory::data_type;

// Longer batches are cut, so that there are few programs for any mix of lengths.
constexpr std::int64_t kRowBlock = 64;

// Room for every row count below kRowBlock of the few shapes of a model.
constexpr std::size_t kMaxPrograms = 512;

const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

const dnnl::stream& stream() {
  static thread_local const dnnl::stream instance(engine());
  return instance;
}

Error asError(const dnnl::error& error) {
  return error.status == dnnl_out_of_memory
             ? Error(ErrorCode::outOfMemory, "out of memory in a matrix product")
             : Error(ErrorCode::internal, std::string("oneDNN: ") + error.what());
}

dnnl::primitive_attr scaling(float alpha, float beta) {
  dnnl::post_ops after;
  if (alpha != 1.0f) {
#if DNNL_VERSION_MAJOR >= 3
    after.append_eltwise(dnnl::algorithm::eltwise_linear, alpha, 0.0f);
#else
    after.append_eltwise(1.0f, dnnl::algorithm::eltwise_linear, alpha, 0.0f);
#endif
  }
  if (beta != 0.0f) after.append_sum(beta);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(after);
  return attributes;
}

dnnl::matmul::primitive_desc describe(const memory::desc& x, const memory::desc& weight,
                                      const memory::desc& out,
                                      const dnnl::primitive_attr& attributes = {}) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), x, weight, out, attributes};
#else
  return {{x, weight, out}, attributes, engine()};
#endif
}

memory::desc rowsOf(std::int64_t rows, std::int64_t columns, std::int64_t stride, Type type) {
  return {{rows, columns}, type, memory::dims{stride, 1}};
}

// Threads for a product. The library itself would wake all of them for the smallest.
int threadsFor(std::int64_t rows, const PackedWeight& weight) {
  const std::int64_t products = rows * weight.outFeatures * weight.inFeatures;
  return static_cast<int>(
      std::clamp<std::int64_t>(products / kGrainProducts, 1, std::int64_t{threadCount()}));
}

/// The number of threads that oneDNN sees while it lives: in making a program and in running it.
class LibraryThreads {
 public:
  explicit LibraryThreads(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~LibraryThreads() { omp_set_num_threads(before_); }
  LibraryThreads(const LibraryThreads&) = delete;
  LibraryThreads& operator=(const LibraryThreads&) = delete;

 private:
  int before_;
};

// The weight as dense bfloat16 rows: where it lies, or converted into `converted`.
const void* asBFloat16Rows(const ConstTensorView& weight, Buffer& converted) {
  const std::int64_t rows = weight.shape[0];
  const std::int64_t columns = weight.shape[1];
  if (weight.dtype == DType::bfloat16 && weight.strides[0] == columns) return weight.data;
  converted = Buffer(static_cast<std::size_t>(rows * columns) * sizeof(BFloat16));
  parallelFor(rows, rowGrain(columns), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      convertElements(weight.rows(row, 1).data, weight.dtype,
                      converted.as<BFloat16>() + row * columns, DType::bfloat16, columns);
    }
  });
  return converted.as<void>();
}

}  // namespace

std::unique_ptr<BlockedWeight> BlockedProducts::pack(const ConstTensorView& weight) const try {
  const std::int64_t outFeatures = weight.shape[0];
  const std::int64_t inFeatures = weight.shape[1];
  auto packed = std::make_unique<BlockedWeight>();
  packed->layout = describe(rowsOf(kRowBlock, inFeatures, inFeatures, Type::bf16),
                            {{inFeatures, outFeatures}, Type::bf16, memory::format_tag::any},
                            rowsOf(kRowBlock, outFeatures, outFeatures, Type::f32))
                       .weights_desc();
  packed->data = Buffer(packed->layout.get_size());
  packed->memory = memory(packed->layout, engine(), packed->data.as<void>());
  Buffer converted;
  const memory::desc transposed(memory::dims{inFeatures, outFeatures}, Type::bf16,
                                memory::dims{1, inFeatures});
  // The reorder only reads its source.
  memory source(transposed, engine(), const_cast<void*>(asBFloat16Rows(weight, converted)));
  dnnl::stream queue = stream();
  dnnl::reorder(source, packed->memory).execute(queue, source, packed->memory);
  queue.wait();
  packed->outFeatures = outFeatures;
  packed->inFeatures = inFeatures;
  packed->dtype = DType::bfloat16;
  packed->bytes = static_cast<std::int64_t>(packed->layout.get_size());
  return packed;
} catch (const dnnl::error& error) {
  if (error.status == dnnl_unimplemented) return nullptr;
  throw asError(error);
}

BlockedProducts::Program& BlockedProducts::program(const Key& key, const BlockedWeight& weight) {
  const auto found = std::find_if(programs_.begin(), programs_.end(),
                                  [&](const Program& program) { return program.key == key; });
  if (found != programs_.end()) {
    programs_.splice(programs_.begin(), programs_, found);
    return programs_.front();
  }
  const memory::desc x = rowsOf(key.rows, key.inFeatures, key.xStride, Type::bf16);
  const memory::desc out = rowsOf(key.rows, key.outFeatures, key.outStride, Type::f32);
  if (programs_.size() >= kMaxPrograms) programs_.pop_back();
  const dnnl::matmul product(describe(x, weight.layout, out, scaling(key.alpha, key.beta)));
  programs_.push_front({key,
                        product,
                        {{DNNL_ARG_SRC, memory(x, engine(), nullptr)},
                         {DNNL_ARG_WEIGHTS, weight.memory},
                         {DNNL_ARG_DST, memory(out, engine(), nullptr)}}});
  return programs_.front();
}

void BlockedProducts::run(const Linear& p, const BlockedWeight& weight) try {
  for (std::int64_t row = 0; row < p.x.shape[0]; row += kRowBlock) {
    const std::int64_t rows = std::min(kRowBlock, p.x.shape[0] - row);
    const int threads = threadsFor(rows, weight);
    const LibraryThreads limit(threads);
    Program& step = program({rows, weight.outFeatures, weight.inFeatures, p.x.strides[0],
                             p.out.strides[0], p.alpha, p.beta, threads},
                            weight);
    const auto* x = p.x.as<BFloat16>() + row * p.x.strides[0];
    step.arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<BFloat16*>(x));
    step.arguments.at(DNNL_ARG_WEIGHTS) = weight.memory;
    step.arguments.at(DNNL_ARG_DST).set_data_handle(p.out.as<float>() + row * p.out.strides[0]);
    step.product.execute(stream(), step.arguments);
  }
} catch (const dnnl::error& error) {
  throw asError(error);
}

}  // namespace wgqa::cpu
