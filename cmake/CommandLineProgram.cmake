# df_command_line_program(<name> SOURCES <file>...)
#
# A tool that starts, makes one call and ends. Loading forty shared libraries would take longer than its work (5 ms
# against 1.8, measured on a program with the same libraries), so what exists as an archive is linked statically.
# Sanitizer builds link as everything else.
function(df_command_line_program name)
  cmake_parse_arguments(P "" "" "SOURCES" ${ARGN})
  if(DF_SANITIZE)
    df_program(${name} SOURCES ${P_SOURCES} USES cli)
    return()
  endif()

  set(archives "")
  set(absl_libraries absl_status absl_statusor absl_strings absl_time absl_synchronization absl_cord absl_str_format_internal)
  pkg_get_variable(absl_libdir absl_status libdir)
  foreach(library ${absl_libraries})
    pkg_check_modules(${library} QUIET ${library})
    foreach(flag ${${library}_STATIC_LIBRARIES})
      if(EXISTS ${absl_libdir}/lib${flag}.a AND flag MATCHES "^absl_")
        list(APPEND archives ${absl_libdir}/lib${flag}.a)
      endif()
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES archives)

  add_executable(${name} ${P_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  add_dependencies(${name} df_cli df_rpc_tls_client df_rpc_unix df_api_messages df_base)
  target_link_libraries(${name} PRIVATE
    df_warnings
    $<TARGET_FILE:df_cli> $<TARGET_FILE:df_rpc_tls_client> $<TARGET_FILE:df_rpc_unix>
    $<TARGET_FILE:df_api_messages> $<TARGET_FILE:df_base>
    ${absl_libdir}/libprotobuf.a
    -Wl,--start-group ${archives} -Wl,--end-group
    ${absl_libdir}/libssl.a ${absl_libdir}/libcrypto.a ${absl_libdir}/libnghttp2.a ${absl_libdir}/libz.a
    PkgConfig::isal PkgConfig::idn2 Threads::Threads
    -static-libstdc++ -static-libgcc -Wl,--gc-sections -Wl,--as-needed)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()
