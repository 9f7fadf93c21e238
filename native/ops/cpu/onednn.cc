#include "ops/cpu/onednn.h"

#include <omp.h>

#include <string>

#include "base/parallel.h"
#include "ops/cpu/grain.h"

namespace wgqa::cpu::onednn {

using dnnl::memory;

const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

dnnl::stream& stream() {
  static thread_local dnnl::stream instance(engine());
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

dnnl::matmul::primitive_desc describe(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                      const dnnl::memory::desc& c,
                                      const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), a, b, c, attributes};
#else
  return {{a, b, c}, attributes, engine()};
#endif
}

namespace {

/// Of a blocked layout: the strides of its outer blocks, and the inner ones with their dimensions.
struct Blocking {
  memory::dims strides, inner, innerDimensions, paddedDims;
};

#if DNNL_VERSION_MAJOR >= 3
Blocking blockingOf(const memory::desc& weight) {
  if (weight.get_format_kind() != memory::format_kind::blocked) return {};
  return {weight.get_strides(), weight.get_inner_blks(), weight.get_inner_idxs(),
          weight.get_padded_dims()};
}
#else
Blocking blockingOf(const memory::desc& weight) {
  const dnnl_memory_desc_t& d = weight.data;
  if (d.format_kind != dnnl_blocked) return {};
  const dnnl_blocking_desc_t& blocking = d.format_desc.blocking;
  return {{blocking.strides, blocking.strides + d.ndims},
          {blocking.inner_blks, blocking.inner_blks + blocking.inner_nblks},
          {blocking.inner_idxs, blocking.inner_idxs + blocking.inner_nblks},
          {d.padded_dims, d.padded_dims + d.ndims}};
}
#endif

}  // namespace

bool liesInBlocks(const memory::desc& weight, std::int64_t features, std::int64_t groups,
                  std::int64_t group) {
  const Blocking blocking = blockingOf(weight);
  return blocking.inner == memory::dims{groups, features, group} &&
         blocking.innerDimensions == memory::dims{0, 1, 0} &&
         blocking.strides ==
             memory::dims{groups * features * group, blocking.paddedDims[0] * features};
}

int threadsFor(std::int64_t multiplications) {
  return static_cast<int>(
      std::clamp<std::int64_t>(multiplications / kGrainProducts, 1, std::int64_t{threadCount()}));
}

LibraryThreads::LibraryThreads(int threads) : before_(omp_get_max_threads()) {
  omp_set_num_threads(threads);
}

LibraryThreads::~LibraryThreads() { omp_set_num_threads(before_); }

}  // namespace wgqa::cpu::onednn
