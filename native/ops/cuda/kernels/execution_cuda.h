// execution.h for nvcc: thin names over CUDA's own functions, and the instructions that have none.
// Sources: CUDA C++ Programming Guide; PTX ISA, sections on mma.m16n8k16, ldmatrix, cp.async.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace wgqa::cuda {

// ---------------------------------------------------------------------------- where a thread is

WGQA_DEVICE int threadIndex() { return static_cast<int>(threadIdx.x); }
WGQA_DEVICE int blockThreads() { return static_cast<int>(blockDim.x); }
WGQA_DEVICE int laneIndex() { return threadIndex() % 32; }
WGQA_DEVICE int warpIndex() { return threadIndex() / 32; }
WGQA_DEVICE int blockX() { return static_cast<int>(blockIdx.x); }
WGQA_DEVICE int blockY() { return static_cast<int>(blockIdx.y); }
WGQA_DEVICE int blockZ() { return static_cast<int>(blockIdx.z); }
WGQA_DEVICE int gridX() { return static_cast<int>(gridDim.x); }
WGQA_DEVICE int gridY() { return static_cast<int>(gridDim.y); }

/// The block's dynamic shared memory, aligned to 1,024 bytes.
template <typename T>
WGQA_DEVICE T* dynamicShared() {
  extern __shared__ __align__(1024) unsigned char sharedBytes[];
  return reinterpret_cast<T*>(sharedBytes);
}

// ---------------------------------------------------------------------------- together

WGQA_DEVICE void blockBarrier() { __syncthreads(); }
WGQA_DEVICE void warpBarrier() { __syncwarp(); }
/// `value` of lane ^ mask.
template <typename T>
WGQA_DEVICE T shuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
/// `value` of another lane.
template <typename T>
WGQA_DEVICE T shuffleFrom(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
/// `value` of lane - delta; lanes below delta keep their own.
template <typename T>
WGQA_DEVICE T shuffleUp(T value, int delta) {
  return __shfl_up_sync(0xffffffffu, value, delta);
}
WGQA_DEVICE bool warpAny(bool value) { return __any_sync(0xffffffffu, value); }

/// In device or shared memory; returns the value before.
WGQA_DEVICE int atomicAddTo(int* address, int value) { return atomicAdd(address, value); }

/// Reads or writes a T as one access; the address is a multiple of its size.
template <typename T>
WGQA_DEVICE T loadWhole(const void* from) {
  return *static_cast<const T*>(from);
}
template <typename T>
WGQA_DEVICE void storeWhole(void* to, const T& value) {
  *static_cast<T*>(to) = value;
}

// ---------------------------------------------------------------------------- arithmetic

/// Within two units in the last place; 0 where the result is below 2^-126.
WGQA_DEVICE float fastExp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(result) : "f"(x));
  return result;
}
WGQA_DEVICE float fastExp(float x) { return __expf(x); }
WGQA_DEVICE float fusedMultiplyAdd(float a, float b, float c) { return fmaf(a, b, c); }

/// Bits of the nearest bfloat16 / float16, ties to even.
WGQA_DEVICE std::uint16_t bfloat16Bits(float x) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}
WGQA_DEVICE std::uint16_t float16Bits(float x) { return __half_as_ushort(__float2half_rn(x)); }
/// Two of them in a word, `low` in its lower half.
WGQA_DEVICE std::uint32_t bfloat16PairBits(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
WGQA_DEVICE std::uint32_t float16PairBits(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;\n" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
WGQA_DEVICE float fromBFloat16Bits(std::uint16_t bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}
WGQA_DEVICE float fromFloat16Bits(std::uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
WGQA_DEVICE std::uint32_t floatBits(float x) { return __float_as_uint(x); }
WGQA_DEVICE float floatFromBits(std::uint32_t bits) { return __uint_as_float(bits); }

// ---------------------------------------------------------------------------- tensor cores (sm_80)

/// d += a b for one warp: a [16, 16] and b [16, 8] in bfloat16, d [16, 8], fragments as
/// mma.m16n8k16 has them.
WGQA_DEVICE void multiplyAdd16x8x16(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// The same of a and b in float16.
WGQA_DEVICE void multiplyAddFloat16(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

WGQA_DEVICE std::uint32_t sharedAddress(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Four 8 x 8 matrices of 16-bit elements from shared memory: lanes 8 i to 8 i + 7 give the rows
/// (16 bytes, aligned) of matrix i; lane l gets elements 2 (l % 4) and the next of row l / 4 of
/// each.
WGQA_DEVICE void loadMatrices(std::uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(sharedAddress(row)));
}
/// The same of the transposed matrices.
WGQA_DEVICE void loadMatricesTransposed(std::uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(sharedAddress(row)));
}

// ---------------------------------------------------------------------------- copies under way
// (sm_80)

/// Begins to copy 16 bytes, both sides aligned, from device to shared memory.
WGQA_DEVICE void copyAsync16(void* shared, const void* device) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(sharedAddress(shared)),
               "l"(device));
}
/// The same, or zeros where `given` is false; `device` is not read then.
WGQA_DEVICE void copyAsync16OrZero(void* shared, const void* device, bool given) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(sharedAddress(shared)),
               "l"(device), "r"(given ? 16 : 0));
}
/// This thread's copies since the last commit are a group.
WGQA_DEVICE void commitCopies() { asm volatile("cp.async.commit_group;\n" ::); }
/// Waits for all but the `kLeft` latest groups of this thread; a barrier then shows them to others.
template <int kLeft>
WGQA_DEVICE void waitForCopies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kLeft) : "memory");
}

}  // namespace wgqa::cuda
