# Compiler choice, warnings, sanitizers, linker and compiler cache.

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  message(FATAL_ERROR
    "GCC cannot build Dragonfly: GCC 12 destroys some temporaries of an expression with co_await twice, "
    "without a warning (see docs/building.md). Configure with a preset (cmake --preset release), which takes clang 19.")
endif()
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  message(FATAL_ERROR "Dragonfly is built with clang 19 or later; found ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}. "
    "Configure with a preset: cmake --preset release")
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer")

set(DF_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=")
option(DF_FUZZ "Build the fuzzers (and only them) with libFuzzer" OFF)

find_program(DF_CCACHE ccache)
if(DF_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${DF_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${DF_CCACHE})
endif()
find_program(DF_LLD NAMES ld.lld-19 ld.lld)
if(DF_LLD)
  add_link_options("-fuse-ld=${DF_LLD}")
endif()

if(DF_SANITIZE)
  # `function` needs the vtables of libraries that are built without it; `vptr` needs their RTTI.
  add_compile_options(-fsanitize=${DF_SANITIZE} -fno-sanitize=function,vptr -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DF_SANITIZE})
endif()
if(DF_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Warnings of our own code; generated code and third parties are not ours.
add_library(df_warnings INTERFACE)
target_compile_options(df_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wthread-safety -Werror
  # Fields that a designated initialiser leaves out take their defaults: that is what option structs are for.
  -Wno-missing-designated-field-initializers)
