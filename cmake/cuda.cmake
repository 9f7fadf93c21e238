# The CUDA backend's kernels, compiled twice: by nvcc into a library that is loaded where a driver is,
# and by the C++ compiler against an emulation of the execution model, for tests without a GPU.
file(GLOB kernels CONFIGURE_DEPENDS native/ops/cuda/kernels/*.cu)

# ---------------------------------------------------------------------------- emulated
if(WGQA_TESTS)
  file(GLOB sources CONFIGURE_DEPENDS native/ops/cuda/emulation/*.cc)
  foreach(kernel ${kernels})
    get_filename_component(name ${kernel} NAME_WE)
    set(emulated ${PROJECT_BINARY_DIR}/emulated_kernels/${name}.cc)
    file(CONFIGURE OUTPUT ${emulated} CONTENT "#include \"ops/cuda/kernels/${name}.cu\"\n")
    list(APPEND sources ${emulated})
  endforeach()
  add_library(wgqa_ops_cuda_emulated STATIC ${sources})
  target_link_libraries(wgqa_ops_cuda_emulated PUBLIC wgqa_options wgqa_ops_cuda)
  wgqa_precompile_headers(wgqa_ops_cuda_emulated)
endif()

# ---------------------------------------------------------------------------- by nvcc
set(WGQA_CUDA_ARCHITECTURES "80-real;90a-real;90-virtual"
    CACHE STRING "Machine code for A100 and H100 (with the instructions that only it has), PTX for newer ones")
set(found_cuda OFF)
if(NOT WGQA_CUDA STREQUAL "OFF")
  set(CMAKE_CUDA_ARCHITECTURES ${WGQA_CUDA_ARCHITECTURES})
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    set(found_cuda ON)
  elseif(WGQA_CUDA STREQUAL "ON")
    message(FATAL_ERROR "WGQA_CUDA is ON, but nvcc was not found: put it on PATH or set CUDACXX")
  else()
    message(STATUS "nvcc was not found: no CUDA kernels are built")
  endif()
endif()

if(found_cuda)
  file(GLOB sources CONFIGURE_DEPENDS native/ops/cuda/runtime/*.cc)
  add_library(wgqa_cuda MODULE ${sources} ${kernels})
  target_include_directories(wgqa_cuda PRIVATE native)
  # CMake 3.25 knows no CUDA20; kernels need no more than C++17.
  set_target_properties(wgqa_cuda PROPERTIES PREFIX "" CUDA_STANDARD 17
    CUDA_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/Release"
    CUDA_COMPILER_LAUNCHER "${PROJECT_SOURCE_DIR}/cmake/keep-compiler-output.sh")
  target_compile_options(wgqa_cuda PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-v;--diag-suppress=177>"
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra>")
  target_link_libraries(wgqa_cuda PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
  # --exclude-libs and hidden visibility leave the templates of the standard library.
  set(symbols "${PROJECT_BINARY_DIR}/wgqa_cuda.map")
  file(CONFIGURE OUTPUT "${symbols}" CONTENT "{ global: wgqaCudaDriver; local: *; };\n")
  target_link_options(wgqa_cuda PRIVATE LINKER:--exclude-libs,ALL
    "LINKER:--version-script=${symbols}")
  set_property(TARGET wgqa_cuda APPEND PROPERTY LINK_DEPENDS "${symbols}")
endif()
