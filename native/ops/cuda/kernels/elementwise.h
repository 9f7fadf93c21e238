// Arguments of the kernels in elementwise.cu. Tensors are dense.
#pragma once

#include "ops/cuda/kernels/kernel.h"
#include "ops/cuda/kernels/random.h"

namespace wgqa::cuda {

/// Elements that a thread handles at a time: those that share a block of random words.
inline constexpr int kColumnsPerThread = 4;
/// The same of a cast.
inline constexpr int kCastPerThread = 8;

struct DropoutKernelArguments {
  const float* x;         // [rows, columns]
  const float* residual;  // as x, or null
  void* out;              // as x, of the kernel's type
  std::int64_t rows;
  std::int64_t columns;
  DropoutArguments dropout;
};

struct GatedActivationArguments {
  const float* gate;    // [rows, columns]
  const float* linear;  // as gate, or null
  void* out;            // as gate, of the kernel's type
  std::int64_t rows;
  std::int64_t columns;
  DropoutArguments dropout;
};

struct GatedActivationBackwardArguments {
  const float* gate;     // [rows, columns]
  const float* linear;   // as gate, or null
  const float* gradOut;  // as gate
  void* gradGate;        // as gate, of the kernel's type
  void* gradLinear;      // as gradGate, or null
  std::int64_t rows;
  std::int64_t columns;
  DropoutArguments dropout;
};

struct CastArguments {
  const void* x;
  void* out;
  std::int64_t count;
};

inline constexpr Kernel<DropoutKernelArguments> kDropoutFloat32{"dropout<float32>"};
inline constexpr Kernel<DropoutKernelArguments> kDropoutBFloat16{"dropout<bfloat16>"};

// By Activation: relu, gelu, geluTanh, silu.
inline constexpr Kernel<GatedActivationArguments> kGatedFloat32[] = {
    {"gatedActivation<relu, float32>"},
    {"gatedActivation<gelu, float32>"},
    {"gatedActivation<geluTanh, float32>"},
    {"gatedActivation<silu, float32>"}};
inline constexpr Kernel<GatedActivationArguments> kGatedBFloat16[] = {
    {"gatedActivation<relu, bfloat16>"},
    {"gatedActivation<gelu, bfloat16>"},
    {"gatedActivation<geluTanh, bfloat16>"},
    {"gatedActivation<silu, bfloat16>"}};
inline constexpr Kernel<GatedActivationBackwardArguments> kGatedBackwardFloat32[] = {
    {"gatedActivationBackward<relu, float32>"},
    {"gatedActivationBackward<gelu, float32>"},
    {"gatedActivationBackward<geluTanh, float32>"},
    {"gatedActivationBackward<silu, float32>"}};
inline constexpr Kernel<GatedActivationBackwardArguments> kGatedBackwardBFloat16[] = {
    {"gatedActivationBackward<relu, bfloat16>"},
    {"gatedActivationBackward<gelu, bfloat16>"},
    {"gatedActivationBackward<geluTanh, bfloat16>"},
    {"gatedActivationBackward<silu, bfloat16>"}};

// [from][to] of float32, float16, bfloat16.
inline constexpr Kernel<CastArguments> kCast[3][3] = {
    {{"cast<float32, float32>"}, {"cast<float32, float16>"}, {"cast<float32, bfloat16>"}},
    {{"cast<float16, float32>"}, {"cast<float16, float16>"}, {"cast<float16, bfloat16>"}},
    {{"cast<bfloat16, float32>"}, {"cast<bfloat16, float16>"}, {"cast<bfloat16, bfloat16>"}}};

}  // namespace wgqa::cuda
