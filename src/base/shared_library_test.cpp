#include "base/shared_library.h"

#include <gtest/gtest.h>

#include <cmath>

namespace doppel {
namespace {

TEST(SharedLibrary, FindsFunctions) {
  const auto library = SharedLibrary::load("libm.so.6", "arithmetic", "libc6");
  ASSERT_TRUE(library) << library.error().describe();
  double (*floor_of)(double) = nullptr;
  ASSERT_TRUE(library->find("floor", floor_of));
  EXPECT_EQ(floor_of(2.5), 2.0);
  const auto missing = library->find("no_such_function", floor_of);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().describe(), "the library libm.so.6 is too old: it has no no_such_function");
}

TEST(SharedLibrary, SaysWhatToInstall) {
  const auto library = SharedLibrary::load("libnosuch.so.9", "nosuch://", "nosuch-tools");
  ASSERT_FALSE(library);
  EXPECT_EQ(library.error().describe(), "nosuch:// needs the library libnosuch.so.9; install the package nosuch-tools");
}

}  // namespace
}  // namespace doppel
