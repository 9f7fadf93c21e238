// hopper.h for nvcc. Source: PTX ISA, sections on wgmma.mma_async and its matrix descriptor,
// mbarrier, cp.async.bulk.tensor, setmaxnreg.
#pragma once

#define WGQA_CONSTANT_ARGUMENTS(Type) const __grid_constant__ Type

namespace wgqa::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kHasHopper = true;
#else
inline constexpr bool kHasHopper = false;
#endif

// ---------------------------------------------------------------------------- barriers

/// In shared memory. A phase ends when `arrivals` have arrived and all bytes that were announced
/// are there; the first phase has parity 0.
struct SharedBarrier {
  std::uint64_t state;
};

/// By one thread; then publishBarriers() by the same and a barrier of the block.
WGQA_DEVICE void initialise(SharedBarrier& barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(sharedAddress(&barrier)),
               "r"(arrivals)
               : "memory");
}
WGQA_DEVICE void publishBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}
WGQA_DEVICE void arrive(SharedBarrier& barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(sharedAddress(&barrier))
               : "memory");
}
/// Arrives, and announces bytes that copies will bring.
WGQA_DEVICE void arriveExpecting(SharedBarrier& barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(sharedAddress(&barrier)),
      "r"(bytes)
      : "memory");
}
/// Returns once the phase of this parity has ended: at once if the phase under way has the other.
WGQA_DEVICE void waitFor(SharedBarrier& barrier, int parity) {
  std::uint32_t ended = 0;
  while (ended == 0) {
    asm volatile(
        "{\n.reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n}\n"
        : "=r"(ended)
        : "r"(sharedAddress(&barrier)), "r"(parity)
        : "memory");
  }
}
/// Of the 128 threads of a warpgroup.
WGQA_DEVICE void warpgroupBarrier() {
  asm volatile("bar.sync %0, 128;\n" ::"r"(1 + threadIndex() / 128) : "memory");
}

// ---------------------------------------------------------------------------- copies

/// By one thread: begins to copy the box whose first element is at (token, head, column), which may
/// lie outside of the tensor, to a multiple of 1,024 bytes. `full` is told of its bytes.
WGQA_DEVICE void copyBox(void* shared, const TensorMap& map, int column, int head, int token,
                         SharedBarrier& full) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4, %5}], [%2];\n" ::"r"(sharedAddress(shared)),
      "l"(&map), "r"(sharedAddress(&full)), "r"(column), "r"(head), "r"(token)
      : "memory");
}
/// By one thread: begins to copy bytes, a multiple of 16, both sides aligned to 16.
WGQA_DEVICE void copyBytes(void* shared, const void* device, int bytes, SharedBarrier& full) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];\n" ::"r"(sharedAddress(shared)),
      "l"(device), "r"(bytes), "r"(sharedAddress(&full))
      : "memory");
}
/// What this thread wrote to shared memory can be read by products after the next barrier.
WGQA_DEVICE void showToProducts() { asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory"); }

// ---------------------------------------------------------------------------- registers

/// By all warps of a warpgroup: how many registers each of its threads has from here on.
template <int kCount>
WGQA_DEVICE void keepRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kCount));
}
template <int kCount>
WGQA_DEVICE void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kCount));
}

// ---------------------------------------------------------------------------- products

/// A matrix in shared memory whose rows of 128 bytes are permuted as copyBox() leaves them, eight
/// of them in 1,024 bytes. `leadingBytes`: from one panel of 64 columns to the next, where the
/// products run along columns.
struct SharedMatrix {
  std::uint64_t descriptor;
};
WGQA_DEVICE SharedMatrix sharedMatrix(const void* first, int leadingBytes) {
  constexpr std::uint64_t kEightRows = std::uint64_t{1024 >> 4} << 32;
  constexpr std::uint64_t kPermuted128 = std::uint64_t{1} << 62;
  return {sharedAddress(first) >> 4 & 0x3fff | std::uint64_t(leadingBytes >> 4) << 16 | kEightRows |
          kPermuted128};
}
/// The matrix that begins so many bytes later, a constant.
WGQA_DEVICE SharedMatrix bytesOn(SharedMatrix matrix, int bytes) {
  return {matrix.descriptor + static_cast<std::uint64_t>(bytes >> 4)};
}

/// Before the first product that reads or adds to registers which were written since the last wait.
WGQA_DEVICE void beginProducts() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
/// This warpgroup's products since the last commit are a group.
WGQA_DEVICE void commitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
/// Waits for all but the `kLeft` latest groups. `sums` are those of a group that is waited for: no
/// use of them may move ahead of the wait.
template <int kLeft, int kCount>
WGQA_DEVICE void waitForProducts(float (&sums)[kCount]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kLeft) : "memory");
  WGQA_UNROLL
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(sums[i])::"memory");
}

#define WGQA_SUMS_8(i)                                                                       \
  "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3]), "+f"(sums[i + 4]), \
      "+f"(sums[i + 5]), "+f"(sums[i + 6]), "+f"(sums[i + 7])
#define WGQA_SUMS_32 WGQA_SUMS_8(0), WGQA_SUMS_8(8), WGQA_SUMS_8(16), WGQA_SUMS_8(24)
#define WGQA_SUMS_64 \
  WGQA_SUMS_32, WGQA_SUMS_8(32), WGQA_SUMS_8(40), WGQA_SUMS_8(48), WGQA_SUMS_8(56)
#define WGQA_PLACES_32                                                          \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20," \
  "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"
#define WGQA_PLACES_64                                                                           \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,"                  \
  "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43," \
  "%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}"

// Of `type` "bf16" or "f16"; scale-d is `adds`, a value of 0 or 1 at the operand of that number.
#define WGQA_MULTIPLY_ROWS(type, columns, places, sums, a_, b_, adds_)                     \
  asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, %" #adds_                           \
               ", 0;\nwgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type \
               " " places ", %" #a_ ", %" #b_ ", adds, 1, 1, 0, 0;\n}\n"                   \
               : sums                                                                      \
               : "l"(a.descriptor), "l"(b.descriptor), "n"(kAdds))
#define WGQA_MULTIPLY_FRAGMENT(type, columns, places, sums, a0, a1, a2, a3, b_, adds_, transposed) \
  asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, %" #adds_                                   \
               ", 0;\nwgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type         \
               " " places ", {%" #a0 ",%" #a1 ",%" #a2 ",%" #a3 "}, %" #b_                         \
               ", adds, 1, 1, " #transposed ";\n}\n"                                               \
               : sums                                                                              \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor), "n"(kAdds))

// A warpgroup's sums [64, columns]: warp w has rows 16 w to 16 w + 15 as mma's fragments have them
// (tensor_tile.h), eight columns after the other. T: BFloat16Element | Float16Element.

/// sums = a b^T, or += if kAdds: 16 columns of 64 rows `a` and of `2 * kCount` rows `b`.
template <typename T, bool kAdds>
WGQA_DEVICE void multiplyRowsAsync(float (&sums)[32], SharedMatrix a, SharedMatrix b) {
  if constexpr (isBFloat16<T>) {
    WGQA_MULTIPLY_ROWS("bf16", 64, WGQA_PLACES_32, WGQA_SUMS_32, 32, 33, 34);
  } else {
    WGQA_MULTIPLY_ROWS("f16", 64, WGQA_PLACES_32, WGQA_SUMS_32, 32, 33, 34);
  }
}
template <typename T, bool kAdds>
WGQA_DEVICE void multiplyRowsAsync(float (&sums)[64], SharedMatrix a, SharedMatrix b) {
  if constexpr (isBFloat16<T>) {
    WGQA_MULTIPLY_ROWS("bf16", 128, WGQA_PLACES_64, WGQA_SUMS_64, 64, 65, 66);
  } else {
    WGQA_MULTIPLY_ROWS("f16", 128, WGQA_PLACES_64, WGQA_SUMS_64, 64, 65, 66);
  }
}

/// The same of 64 rows `a` in registers, as mma's operand has them, in bfloat16.
template <bool kAdds>
WGQA_DEVICE void multiplyFragmentRowsAsync(float (&sums)[32], const std::uint32_t (&a)[4],
                                           SharedMatrix b) {
  WGQA_MULTIPLY_FRAGMENT("bf16", 64, WGQA_PLACES_32, WGQA_SUMS_32, 32, 33, 34, 35, 36, 37, 0);
}

/// sums += a b: 16 columns of 64 rows `a` in registers, as mma's operand has them; 16 rows of `b`.
template <typename T>
WGQA_DEVICE void multiplyFragmentAsync(float (&sums)[32], const std::uint32_t (&a)[4],
                                       SharedMatrix b) {
  constexpr bool kAdds = true;
  if constexpr (isBFloat16<T>) {
    WGQA_MULTIPLY_FRAGMENT("bf16", 64, WGQA_PLACES_32, WGQA_SUMS_32, 32, 33, 34, 35, 36, 37, 1);
  } else {
    WGQA_MULTIPLY_FRAGMENT("f16", 64, WGQA_PLACES_32, WGQA_SUMS_32, 32, 33, 34, 35, 36, 37, 1);
  }
}
template <typename T>
WGQA_DEVICE void multiplyFragmentAsync(float (&sums)[64], const std::uint32_t (&a)[4],
                                       SharedMatrix b) {
  constexpr bool kAdds = true;
  if constexpr (isBFloat16<T>) {
    WGQA_MULTIPLY_FRAGMENT("bf16", 128, WGQA_PLACES_64, WGQA_SUMS_64, 64, 65, 66, 67, 68, 69, 1);
  } else {
    WGQA_MULTIPLY_FRAGMENT("f16", 128, WGQA_PLACES_64, WGQA_SUMS_64, 64, 65, 66, 67, 68, 69, 1);
  }
}

#undef WGQA_MULTIPLY_ROWS
#undef WGQA_MULTIPLY_FRAGMENT
#undef WGQA_SUMS_8
#undef WGQA_SUMS_32
#undef WGQA_SUMS_64
#undef WGQA_PLACES_32
#undef WGQA_PLACES_64

}  // namespace wgqa::cuda
