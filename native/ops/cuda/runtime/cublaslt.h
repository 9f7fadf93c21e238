// The part of cuBLASLt that dense products use, opened at run time: neither its header nor the
// library is needed to build. Types and values are those of its documented interface (cuBLAS
// documentation, "Using the cuBLASLt API"; the same in versions 11 to 13).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace wgqa::cuda::runtime {

struct CublasLt {
  using Status = int;  // 0: success
  using Handle = void*;
  using Description = void*;
  using Layout = void*;
  using Preference = void*;

  static constexpr Status kAllocationFailed = 3;  // CUBLAS_STATUS_ALLOC_FAILED
  static constexpr Status kInvalidValue = 7;      // CUBLAS_STATUS_INVALID_VALUE
  static constexpr Status kNotSupported = 15;     // CUBLAS_STATUS_NOT_SUPPORTED
  static constexpr int kComputeFloat32 = 68;      // CUBLAS_COMPUTE_32F
  static constexpr int kComputeInt32 = 72;        // CUBLAS_COMPUTE_32I
  static constexpr int kTransposeA = 3;           // CUBLASLT_MATMUL_DESC_TRANSA
  static constexpr int kTransposeB = 4;           // CUBLASLT_MATMUL_DESC_TRANSB
  static constexpr std::int32_t kPlain = 0;       // CUBLAS_OP_N
  static constexpr std::int32_t kTransposed = 1;  // CUBLAS_OP_T
  static constexpr int kMaxWorkspaceBytes = 1;    // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
  static constexpr int kReductionSchemes = 3;     // CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK
  static constexpr int kInComputeType = 2;        // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
  static constexpr int kMinAlignmentA = 5;        // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES
  static constexpr int kMinAlignmentB = 6;
  static constexpr int kMinAlignmentC = 7;
  static constexpr int kMinAlignmentD = 8;

  struct Algorithm {
    std::uint64_t data[8];
  };
  struct HeuristicResult {
    Algorithm algorithm;
    std::size_t workspaceBytes;
    Status state;
    float waves;
    int reserved[4];
  };

  const char* (*statusText)(Status);
  Status (*create)(Handle*);
  Status (*descriptionCreate)(Description*, int compute, int scaleType);
  Status (*descriptionDestroy)(Description);
  Status (*descriptionSet)(Description, int attribute, const void* value, std::size_t bytes);
  Status (*layoutCreate)(Layout*, int type, std::uint64_t rows, std::uint64_t columns,
                         std::int64_t leadingDimension);
  Status (*layoutDestroy)(Layout);
  Status (*preferenceCreate)(Preference*);
  Status (*preferenceDestroy)(Preference);
  Status (*preferenceSet)(Preference, int attribute, const void* value, std::size_t bytes);
  Status (*heuristic)(Handle, Description, Layout a, Layout b, Layout c, Layout d, Preference,
                      int wanted, HeuristicResult* results, int* found);
  Status (*multiply)(Handle, Description, const void* alpha, const void* a, Layout, const void* b,
                     Layout, const void* beta, const void* c, Layout, void* d, Layout,
                     const Algorithm*, void* workspace, std::size_t workspaceBytes, cudaStream_t);
};

/// Opened once; throws Failed with Failure::missingLibrary, naming what to install, if there is
/// none.
const CublasLt& cublasLt();

/// Throws Failed unless a call of cuBLASLt succeeded; `what` says what was asked for.
void requireCublasLt(CublasLt::Status status, const std::string& what);

/// One handle per device, for all streams. The device is current.
CublasLt::Handle cublasLtHandle(std::int32_t device);

}  // namespace wgqa::cuda::runtime
