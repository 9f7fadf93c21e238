// Numbers that several kernels use.
#pragma once

namespace wgqa::cuda {

inline constexpr float kInfinity = __builtin_inff();
inline constexpr float kMinusInfinity = -kInfinity;
inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;

}  // namespace wgqa::cuda
