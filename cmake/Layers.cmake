# The layers, lowest first: one static library per folder of src/, and what each may include and link.
#
#   doppel_layer(FOLDER [MAY_USE folder...] [LINKS third-party targets...])
#
# A folder may include itself, the folders it names and whatever those may include. scripts/check_layers.py reads this
# table and holds every #include against it. Sources are the folder's own *.cpp; *_test.cpp beside them become the
# test program FOLDER_test.

function(doppel_layer FOLDER)
  cmake_parse_arguments(LAYER "" "" "MAY_USE;LINKS" ${ARGN})
  string(REPLACE "/" "_" NAME ${FOLDER})
  file(GLOB SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${FOLDER}/*.cpp)
  set(TESTS ${SOURCES})
  list(FILTER SOURCES EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER TESTS INCLUDE REGEX "_test\\.cpp$")
  list(TRANSFORM LAYER_MAY_USE REPLACE "/" "_")
  list(TRANSFORM LAYER_MAY_USE PREPEND "doppel_")

  if(SOURCES)
    add_library(doppel_${NAME} STATIC ${SOURCES})
    target_link_libraries(doppel_${NAME} PUBLIC ${LAYER_MAY_USE} ${LAYER_LINKS})
  else()
    add_library(doppel_${NAME} INTERFACE)
    target_link_libraries(doppel_${NAME} INTERFACE ${LAYER_MAY_USE} ${LAYER_LINKS})
  endif()
  if(TESTS)
    doppel_test(${NAME}_test SOURCES ${TESTS} LINKS doppel_${NAME})
  endif()
endfunction()

# A GoogleTest program, run by ctest as one test. All share one precompiled <gtest>/<gmock>.
function(doppel_test NAME)
  cmake_parse_arguments(TEST "" "" "SOURCES;LINKS" ${ARGN})
  if(NOT TARGET doppel_test_main)
    file(WRITE ${CMAKE_BINARY_DIR}/test_main.cpp "// Anchors the precompiled headers of the tests.\n")
    add_library(doppel_test_main OBJECT ${CMAKE_BINARY_DIR}/test_main.cpp)
    target_link_libraries(doppel_test_main PUBLIC GTest::gmock GTest::gtest GTest::gtest_main)
    target_precompile_headers(doppel_test_main PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
  endif()
  add_executable(${NAME} ${TEST_SOURCES})
  target_link_libraries(${NAME} PRIVATE ${TEST_LINKS} GTest::gmock GTest::gtest GTest::gtest_main)
  target_precompile_headers(${NAME} REUSE_FROM doppel_test_main)
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${NAME} COMMAND ${NAME} --gtest_brief=1)
endfunction()

doppel_layer(base LINKS fmt::fmt)
doppel_layer(event MAY_USE base LINKS Threads::Threads)
doppel_layer(state MAY_USE base)
doppel_layer(memory MAY_USE state event base)
doppel_layer(x86 MAY_USE state base)
doppel_layer(accel MAY_USE memory x86 state base)
doppel_layer(accel/kvm MAY_USE accel)
doppel_layer(chardev MAY_USE event base LINKS nlohmann_json::nlohmann_json)

doppel_layer(hw/core MAY_USE memory state event base)
doppel_layer(hw/intc MAY_USE hw/core)
doppel_layer(hw/timer MAY_USE hw/core)
doppel_layer(hw/isa MAY_USE hw/core chardev)
doppel_layer(hw/serial MAY_USE hw/core chardev)
doppel_layer(hw/input MAY_USE hw/core)
doppel_layer(hw/pci MAY_USE hw/core)
doppel_layer(hw/firmware MAY_USE hw/core x86)
doppel_layer(hw/machine MAY_USE hw/intc hw/timer hw/isa hw/serial hw/input hw/pci hw/firmware)

doppel_layer(vm MAY_USE hw/machine accel/kvm chardev LINKS nlohmann_json::nlohmann_json)
doppel_layer(gdbstub MAY_USE vm)
doppel_layer(cli MAY_USE vm gdbstub)
target_compile_definitions(doppel_cli PRIVATE DOPPEL_VERSION="${PROJECT_VERSION}")
