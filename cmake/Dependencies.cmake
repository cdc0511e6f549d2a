# Third parties, all from the distribution's packages (scripts/packages.txt).

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(CURL REQUIRED)
find_package(EXPAT REQUIRED)
find_package(ZLIB REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(Boost 1.81 REQUIRED)
pkg_check_modules(grpc++ REQUIRED IMPORTED_TARGET grpc++)
pkg_check_modules(hiredis REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(isal REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(nghttp2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(re2 REQUIRED IMPORTED_TARGET re2)
pkg_check_modules(idn2 REQUIRED IMPORTED_TARGET libidn2)
pkg_check_modules(gnutls REQUIRED IMPORTED_TARGET gnutls)
pkg_check_modules(ngtcp2 REQUIRED IMPORTED_TARGET libngtcp2)
pkg_check_modules(ngtcp2_crypto_gnutls REQUIRED IMPORTED_TARGET libngtcp2_crypto_gnutls)
find_path(DF_TOMLPLUSPLUS toml++/toml.h REQUIRED)  # its headers alone, for files without exceptions
pkg_check_modules(libpq REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(mariadb REQUIRED IMPORTED_TARGET libmariadb)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(crypt REQUIRED IMPORTED_TARGET libcrypt)
find_library(DF_GRPC_REFLECTION NAMES grpc++_reflection REQUIRED)
find_library(DF_JEMALLOC NAMES jemalloc REQUIRED)  # built with --enable-prof, as the distribution's is

# Boost.Asio with coroutines, header only, one translation unit's worth of settings for all.
add_library(df_asio INTERFACE)
target_compile_definitions(df_asio INTERFACE BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_DATE_TIME)
target_include_directories(df_asio SYSTEM INTERFACE ${Boost_INCLUDE_DIRS})
target_link_libraries(df_asio INTERFACE Threads::Threads)

# SOCI with its three backends; their headers show those of the clients' libraries.
set(soci_libraries "")
foreach(part core sqlite3 postgresql mysql)
  find_library(DF_SOCI_${part} NAMES soci_${part} REQUIRED)
  list(APPEND soci_libraries ${DF_SOCI_${part}})
endforeach()
add_library(df_soci INTERFACE)
target_link_libraries(df_soci INTERFACE ${soci_libraries} PkgConfig::sqlite3 PkgConfig::libpq PkgConfig::mariadb)

if(NOT DF_FUZZ)
  find_package(GTest REQUIRED)
  find_package(benchmark REQUIRED)
endif()

# The distribution's abseil and gRPC are not built for ThreadSanitizer: see the files.
if(DF_SANITIZE MATCHES "thread")
  add_library(df_tsan STATIC ${CMAKE_CURRENT_LIST_DIR}/tsan_absl_mutex.cc ${CMAKE_CURRENT_LIST_DIR}/tsan_grpc.cc)
  target_link_options(df_tsan INTERFACE "-Wl,--undefined=grpc_completion_queue_next")
  target_link_libraries(df_tsan PUBLIC absl::synchronization)
  set(mutex _ZN4absl7debian35Mutex)
  set(condvar _ZN4absl7debian37CondVar)
  foreach(symbol ${mutex}4LockEv ${mutex}6UnlockEv ${mutex}7TryLockEv
      ${mutex}10ReaderLockEv ${mutex}12ReaderUnlockEv ${mutex}13ReaderTryLockEv
      ${mutex}5AwaitERKNS0_9ConditionE ${mutex}16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE
      ${mutex}17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE ${mutex}8LockWhenERKNS0_9ConditionE
      ${mutex}19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE
      ${mutex}20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE
      ${condvar}4WaitEPNS0_5MutexE ${condvar}15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE
      ${condvar}16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE)
    target_link_options(df_tsan INTERFACE "-Wl,--wrap=${symbol}")
  endforeach()
  link_libraries(df_tsan)
endif()
