// The suite that holds every accelerator to the contract in accel/accelerator.h. A test runs once per accelerator that
// this host offers; what the host lacks is skipped with the reason.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "accel/accelerator.h"
#include "tests/support/test_machine.h"

namespace doppel::test {

/// How to open one accelerator.
struct Factory {
  std::string name;
  Result<std::unique_ptr<accel::Accelerator>> (*open)();
};

inline void PrintTo(const Factory& factory, std::ostream* out) {
  *out << factory.name;
}

const std::vector<Factory>& factories();

/// Opened once for all tests of it.
class ContractTest : public testing::TestWithParam<Factory> {
 protected:
  void SetUp() override;

  [[nodiscard]] accel::Accelerator& accelerator() const { return *accelerator_; }
  [[nodiscard]] const accel::Capabilities& capabilities() const { return accelerator_->capabilities(); }
  [[nodiscard]] const accel::Traits& traits() const { return accelerator_->traits(); }

 private:
  accel::Accelerator* accelerator_ = nullptr;
};

inline std::string factory_name(const testing::TestParamInfo<Factory>& info) {
  return info.param.name;
}

using accel::DebugExit;
using accel::HaltExit;
using accel::InternalErrorExit;
using accel::InterruptedExit;
using accel::IoDirection;
using accel::IoExit;
using accel::IrqchipMode;
using accel::IrqWindowExit;
using accel::MmioExit;
using accel::MsrExit;
using accel::ShutdownExit;
using accel::VcpuExit;
using accel::tiny::Mode;
namespace tiny = accel::tiny;

}  // namespace doppel::test

/// Runs SUITE, a subclass of ContractTest, on every accelerator.
#define DOPPEL_CONTRACT_SUITE(suite)                                                          \
  INSTANTIATE_TEST_SUITE_P(Accelerators, suite, testing::ValuesIn(doppel::test::factories()), \
                           doppel::test::factory_name)

/// Skips the rest of a test unless CONDITION holds. A function cannot return for its caller.
#define DOPPEL_NEEDS(condition, reason) \
  if (!(condition)) GTEST_SKIP() << "skipped: " << (reason)
