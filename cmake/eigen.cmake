# Eigen, headers only: singular values and small linear systems of conversion. One thread and no
# instructions above the baseline, so that a conversion gives the same bits everywhere.
find_package(Eigen3 3.3 REQUIRED NO_MODULE)
add_library(wgqa_eigen INTERFACE)
target_link_libraries(wgqa_eigen INTERFACE Eigen3::Eigen)
target_compile_definitions(wgqa_eigen INTERFACE EIGEN_MPL2_ONLY EIGEN_DONT_PARALLELIZE)
