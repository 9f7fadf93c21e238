#include "ops/cpu/onednn.h"

#include <omp.h>

#include <string>

#include "base/parallel.h"
#include "ops/cpu/grain.h"

namespace wgqa::cpu::onednn {

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

int threadsFor(std::int64_t multiplications) {
  return static_cast<int>(
      std::clamp<std::int64_t>(multiplications / kGrainProducts, 1, std::int64_t{threadCount()}));
}

LibraryThreads::LibraryThreads(int threads) : before_(omp_get_max_threads()) {
  omp_set_num_threads(threads);
}

LibraryThreads::~LibraryThreads() { omp_set_num_threads(before_); }

}  // namespace wgqa::cpu::onednn
