#include "block/filters/blkdebug_node.h"

#include <cerrno>

#include "block/memory_node.h"
#include "block/test_support.h"

namespace doppel::block {
namespace {

BlkdebugRules rules(std::initializer_list<std::pair<std::string_view, OptionTexts>> list) {
  BlkdebugRules all;
  for (const auto& [kind, options] : list) {
    const auto added = all.add(kind, options);
    EXPECT_TRUE(added) << added.error().describe();
  }
  return all;
}

TEST(Blkdebug, FailsWhatTheActiveRulesName) {
  BlkdebugMachine machine(rules({{"inject-error", {{"event", "l2_load"}, {"errno", "28"}, {"sector", "2"}}},
                                 {"set-state", {{"event", "l2_update"}, {"new_state", "2"}}},
                                 {"inject-error", {{"event", "write_aio"}, {"state", "2"}, {"once", "on"}}}}));
  EXPECT_EQ(machine.fault(IoType::kRead, 0, 4096), 0);
  machine.event("l2_load");
  EXPECT_EQ(machine.fault(IoType::kRead, 0, 4096), ENOSPC);
  EXPECT_EQ(machine.fault(IoType::kRead, 0, 1024), 0);
  EXPECT_EQ(machine.fault(IoType::kBlockStatus, 0, 4096), 0);
  machine.event("write_aio");  // in state 1: changes nothing
  EXPECT_EQ(machine.fault(IoType::kRead, 0, 4096), ENOSPC);
  machine.event("l2_update");
  machine.event("write_aio");
  EXPECT_EQ(machine.fault(IoType::kFlush, 0, 0), EIO);
  EXPECT_EQ(machine.fault(IoType::kFlush, 0, 0), 0);
}

TEST(Blkdebug, WidensRequestsToItsAlignment) {
  BlockRig rig;
  auto memory = std::make_unique<MemoryNode>(filled(1 << 20, 7));
  MemoryNode& file = *memory;
  BlkdebugNode node(std::move(memory), {}, {.align = 4096, .max_transfer = 8192, .opt_write_zero = 8192});
  file.record([](const MemoryNode::Event& event) {
    if (event.bytes.empty()) return;
    EXPECT_EQ(event.offset % 4096, 0U);
    EXPECT_EQ(event.bytes.size() % 4096, 0U);
  });
  ASSERT_TRUE(rig.write(node, 5000, filled(20000, 1)));
  EXPECT_EQ(rig.read(node, 4999, 1), filled(1, 7));
  EXPECT_EQ(rig.read(node, 5000, 20000), filled(20000, 1));
  EXPECT_EQ(rig.read(node, 25000, 1), filled(1, 7));
  ASSERT_TRUE(rig.run(node.write_zeroes(100, 30000, Unmap::kKeep)));
  EXPECT_EQ(rig.read(node, 100, 30000), filled(30000, 0));
  EXPECT_EQ(rig.read(node, 30100, 10), filled(10, 7));
}

TEST(Blkdebug, RefusesInOneSentence) {
  const auto error = [](std::string_view kind, const OptionTexts& options) {
    BlkdebugRules all;
    const auto added = all.add(kind, options);
    return added ? "" : added.error().describe();
  };
  EXPECT_EQ(error("inject-error", {}), "a rule of inject-error needs event");
  EXPECT_EQ(error("inject-error", {{"event", "l2_lod"}}), "'l2_lod' is no event (did you mean 'l2_load'?)");
  EXPECT_EQ(error("inject-error", {{"event", "none"}, {"errno", "x"}}), "errno expects a number up to 4095, not 'x'");
  EXPECT_EQ(error("inject-error", {{"event", "none"}, {"sectr", "1"}}),
            "a rule of inject-error has no option 'sectr' (did you mean 'sector'?)");
  EXPECT_EQ(error("set-state", {{"event", "none"}}), "a rule of set-state needs new-state");
  EXPECT_EQ(error("set", {}), "there are no rules of kind 'set', only inject-error and set-state");
  EXPECT_FALSE(BlkdebugLimits{.align = 3000}.check());
}

}  // namespace
}  // namespace doppel::block
