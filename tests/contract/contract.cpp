#include "tests/contract/contract.h"

#include <map>

#include "accel/kvm/kvm.h"
#include "accel/soft/soft.h"

namespace doppel::test {

const std::vector<Factory>& factories() {
  static const std::vector<Factory> list = {
      {"kvm", [] { return accel::kvm::open(); }},
      {"soft", [] { return accel::soft::open({.log = {}, .translation = {.on = false}}); }},
      {"translated", [] { return accel::soft::open({.log = {}, .translation = {.threshold = 0}}); }},
  };
  return list;
}

void ContractTest::SetUp() {
  using Opened = Result<std::unique_ptr<accel::Accelerator>>;
  static std::map<std::string, Opened> opened;
  auto found = opened.find(GetParam().name);
  if (found == opened.end()) found = opened.emplace(GetParam().name, GetParam().open()).first;
  if (!found->second) GTEST_SKIP() << "skipped: " << found->second.error().describe();
  accelerator_ = found->second->get();
}

}  // namespace doppel::test
