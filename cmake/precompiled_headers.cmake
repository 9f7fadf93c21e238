# Headers of the standard library that most files include, parsed once: half a second of each file.
# Off where a package is built, so that every library's files are also built without, and where a
# compiler is launched through a cache: ccache keeps nothing that was made with them.
set(precompiled <algorithm> <cmath> <cstdint> <cstring> <functional> <memory> <mutex> <span> <string>
    <unordered_map> <utility> <vector>)

# Libraries share those of the first one; the compiler has other options for a program.
function(wgqa_precompile_headers target)
  if(NOT WGQA_PRECOMPILED_HEADERS OR CMAKE_CXX_COMPILER_LAUNCHER)
    return()
  endif()
  get_target_property(type ${target} TYPE)
  if(target STREQUAL wgqa_base OR type STREQUAL EXECUTABLE)
    target_precompile_headers(${target} PRIVATE ${precompiled})
  else()
    target_precompile_headers(${target} REUSE_FROM wgqa_base)
  endif()
endfunction()
