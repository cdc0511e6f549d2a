# df_module(<name> SOURCES <file>... [USES <module>...] [LIBS <target>...])
#
# One module = one folder under src/ = one static library = one namespace. USES names the modules it may
# include; that list is the layer rule and tests/layers checks it against the include lines.
function(df_module name)
  cmake_parse_arguments(M "" "" "SOURCES;USES;LIBS" ${ARGN})
  add_library(df_${name} STATIC ${M_SOURCES})
  target_include_directories(df_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM M_USES PREPEND df_)
  target_link_libraries(df_${name} PUBLIC ${M_USES} ${M_LIBS} PRIVATE df_warnings)
endfunction()

# df_program(<name> SOURCES <file>... [USES <module>...] [LIBS <target>...])
function(df_program name)
  cmake_parse_arguments(P "" "" "SOURCES;USES;LIBS" ${ARGN})
  add_executable(${name} ${P_SOURCES})
  list(TRANSFORM P_USES PREPEND df_)
  target_link_libraries(${name} PRIVATE ${P_USES} ${P_LIBS} df_warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

# df_test(<name> SOURCES <file>... [USES <module>...] [LIBS <target>...] [LABELS <label>...] [TIMEOUT <seconds>])
#
# One GoogleTest program; each TEST becomes one ctest entry. Labels: unit (default), e2e.
function(df_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;USES;LIBS;LABELS" ${ARGN})
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_executable(${name} ${T_SOURCES})
  list(TRANSFORM T_USES PREPEND df_)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${T_USES} ${T_LIBS} GTest::gmock GTest::gtest_main df_warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  if("unit" IN_LIST T_LABELS)
    add_dependencies(unit_tests ${name})
  endif()
  # Whole programs use the machine: one test at a time.
  set(serial OFF)
  if("e2e" IN_LIST T_LABELS)
    set(serial ON)
  endif()
  include(GoogleTest)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX ${name}.
    PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${T_TIMEOUT} RUN_SERIAL ${serial})
endfunction()

# df_fuzzer(<name> SOURCES <file>... [USES <module>...] [LIBS <target>...])
#
# One libFuzzer program, in bin/ of the build folder; its seeds stand in tests/fuzz/corpus/<name without _fuzz>/.
function(df_fuzzer name)
  cmake_parse_arguments(F "" "" "SOURCES;USES;LIBS" ${ARGN})
  add_executable(${name} ${F_SOURCES})
  list(TRANSFORM F_USES PREPEND df_)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${F_USES} ${F_LIBS} df_warnings)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers ${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()
