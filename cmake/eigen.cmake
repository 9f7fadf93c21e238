# Eigen, headers only: singular values and small linear systems of conversion. One thread and no
# instructions above the baseline, so that a conversion gives the same bits everywhere.
find_path(EIGEN_INCLUDE_DIR Eigen/Core PATH_SUFFIXES eigen3)
if(NOT EIGEN_INCLUDE_DIR)
  message(FATAL_ERROR "Eigen is missing: install libeigen3-dev (Debian, Ubuntu) or Eigen >= 3.3")
endif()
add_library(wgqa_eigen INTERFACE)
target_include_directories(wgqa_eigen SYSTEM INTERFACE ${EIGEN_INCLUDE_DIR})
target_compile_definitions(wgqa_eigen INTERFACE EIGEN_MPL2_ONLY EIGEN_DONT_PARALLELIZE)
