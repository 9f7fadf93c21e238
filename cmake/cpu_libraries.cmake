# What the CPU backend is built with: oneDNN and Highway.
# oneDNN's own CMake package asks for OpenCL on Debian, which the CPU engine does not need.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(DNNL_LIBRARY dnnl)
if(NOT DNNL_INCLUDE_DIR OR NOT DNNL_LIBRARY)
  message(FATAL_ERROR "oneDNN is missing: install libdnnl-dev (Debian, Ubuntu) or oneDNN >= 2.6")
endif()
add_library(wgqa_dnnl INTERFACE)
target_include_directories(wgqa_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(wgqa_dnnl INTERFACE ${DNNL_LIBRARY})

find_path(HWY_INCLUDE_DIR hwy/highway.h)
find_library(HWY_LIBRARY hwy)
if(NOT HWY_INCLUDE_DIR OR NOT HWY_LIBRARY)
  message(FATAL_ERROR "Highway is missing: install libhwy-dev (Debian, Ubuntu) or Highway >= 1.0.3")
endif()
add_library(wgqa_highway INTERFACE)
target_include_directories(wgqa_highway SYSTEM INTERFACE ${HWY_INCLUDE_DIR})
target_link_libraries(wgqa_highway INTERFACE ${HWY_LIBRARY})
# Compiled are SSE4, AVX2, AVX-512 and NEON. Targets that add little are left out to save build time,
# and so is SVE, whose vectors cannot be members of the arrays that the kernels keep in registers.
target_compile_definitions(
  wgqa_highway
  INTERFACE HWY_SHARED_DEFINE
            "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_AVX3_DL|HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")

if(WGQA_SANITIZE STREQUAL "thread")
  # What races there are is the same in every kernel: one target is compiled, the one without vectors.
  target_compile_definitions(wgqa_highway INTERFACE HWY_COMPILE_ONLY_STATIC)
endif()
