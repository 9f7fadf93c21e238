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
endif()
