// The resolved view against a resolver that asks, byte by byte, who answers.
#include "memory/flatten.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace doppel::memory {
namespace {

class NullHandler final : public IoHandler {
 public:
  [[nodiscard]] std::uint64_t read(std::uint64_t, unsigned) override { return 0; }
  void write(std::uint64_t, unsigned, std::uint64_t) override {}
};

std::string to_text(const std::vector<FlatRange>& ranges) {
  std::string text;
  for (const FlatRange& range : ranges)
    text += fmt::format("{}+{:#x} {}@{:#x}{}{}{}\n", range.start, range.size, range.region->name(), range.region_offset,
                        range.readable_ram ? " r" : "", range.writable_ram ? "w" : "", range.rom_device ? "d" : "");
  return text;
}

class FlattenTest : public ::testing::Test {
 protected:
  RegionPtr io(const std::string& name, std::uint64_t size) { return topology_.io(name, size, handler_); }
  RegionPtr ram(const std::string& name, std::uint64_t size) { return topology_.ram(name, block_, 0, size); }
  [[nodiscard]] std::string flat() const { return to_text(Flattener::flatten(root_)); }

  Topology topology_;
  NullHandler handler_;
  std::shared_ptr<RamBlock> block_ = *RamBlock::create({.size = 0x10000});
  RegionPtr root_ = topology_.container("root", 0);
};

TEST_F(FlattenTest, EmptyContainerShowsNothing) {
  EXPECT_EQ(flat(), "");
  root_->add(topology_.container("child", 0x1000), 0);
  EXPECT_EQ(flat(), "");
}

TEST_F(FlattenTest, HigherPriorityCutsAHole) {
  root_->add(ram("ram", 0x1000), 0);
  root_->add(io("vga", 0x100), 0x400, 1);
  EXPECT_EQ(flat(), "0x0+0x400 ram@0x0 rw\n0x400+0x100 vga@0x0\n0x500+0xb00 ram@0x500 rw\n");
}

TEST_F(FlattenTest, LaterWinsAmongEquals) {
  const auto first = io("first", 0x10);
  const auto second = io("second", 0x10);
  root_->add(first, 0);
  root_->add(second, 8);
  EXPECT_EQ(flat(), "0x0+0x8 first@0x0\n0x8+0x10 second@0x0\n");
  root_->remove(first);
  root_->add(first, 0);
  EXPECT_EQ(flat(), "0x0+0x10 first@0x0\n0x10+0x8 second@0x8\n");
}

TEST_F(FlattenTest, ContainersClipAndTheirPriorityIsTheirChildrens) {
  const auto pci = topology_.container("pci", 0x100);
  pci->add(io("bar", 0x1000), 0x80, 100);
  root_->add(pci, 0x1000, -1);
  root_->add(io("chip", 0x10), 0x1090);
  EXPECT_EQ(flat(), "0x1080+0x10 bar@0x0\n0x1090+0x10 chip@0x0\n0x10a0+0x60 bar@0x20\n");
}

TEST_F(FlattenTest, DisabledRegionsAreTransparent) {
  const auto cover = io("cover", 0x100);
  root_->add(io("below", 0x100), 0);
  root_->add(cover, 0, 1);
  cover->set_enabled(false);
  EXPECT_EQ(flat(), "0x0+0x100 below@0x0\n");
  cover->set_enabled(true);
  EXPECT_EQ(flat(), "0x0+0x100 cover@0x0\n");
}

TEST_F(FlattenTest, AliasShowsAWindow) {
  const auto target = io("target", 0x1000);
  const auto inner = topology_.alias("inner", target, 0x800, 0x400);
  root_->add(topology_.alias("outer", inner, 0x100, 0x1000), 0x10000);
  EXPECT_EQ(flat(), "0x10000+0x300 target@0x900\n");
  inner->set_alias_offset(0xf00);
  EXPECT_EQ(flat(), "") << "what the inner window shows ends before the outer one begins";
  inner->set_alias_offset(0xe00);
  EXPECT_EQ(flat(), "0x10000+0x100 target@0xf00\n");
}

TEST_F(FlattenTest, AliasOfAContainerIgnoresTheTargetsOwnPlace) {
  const auto pci = topology_.container("pci", 0);
  pci->add(io("bar", 0x1000), 0xe000'0000);
  pci->add(io("vga", 0x100), 0xa0000);
  root_->add(pci, 0, -1);
  root_->add(topology_.alias("window", pci, 0xa0000, 0x20000), 0x4000'0000);
  EXPECT_EQ(flat(), "0xa0000+0x100 vga@0x0\n0x40000000+0x100 vga@0x0\n0xe0000000+0x1000 bar@0x0\n");
}

TEST_F(FlattenTest, PamTogglesOneSegment) {
  const auto memory = ram("ram", 0x10000);
  const auto pci = topology_.container("pci", 0);
  pci->add(io("option-rom", 0x1000), 0x4000);
  root_->add(topology_.alias("below", memory, 0, 0x10000), 0);
  const auto segment_ram = topology_.alias("pam-ram", memory, 0x4000, 0x1000);
  const auto segment_pci = topology_.alias("pam-pci", pci, 0x4000, 0x1000);
  root_->add(segment_ram, 0x4000, 1);
  root_->add(segment_pci, 0x4000, 2);
  EXPECT_EQ(flat(), "0x0+0x4000 ram@0x0 rw\n0x4000+0x1000 option-rom@0x0\n0x5000+0xb000 ram@0x5000 rw\n");
  segment_pci->set_enabled(false);
  EXPECT_EQ(flat(), "0x0+0x10000 ram@0x0 rw\n") << "merged into one";
  segment_ram->set_read_only(true);
  EXPECT_EQ(flat(), "0x0+0x4000 ram@0x0 rw\n0x4000+0x1000 ram@0x4000 r\n0x5000+0xb000 ram@0x5000 rw\n");
}

TEST_F(FlattenTest, KindsHaveTheirAttributes) {
  root_->add(topology_.rom("rom", block_, 0x1000, 0x1000), 0);
  const auto flash = topology_.rom_device("flash", *RamBlock::create({.size = 0x2000}), handler_);
  root_->add(flash, 0x1000);
  EXPECT_EQ(flat(), "0x0+0x1000 rom@0x0 r\n0x1000+0x2000 flash@0x0 rd\n");
  flash->set_rom_readable(false);
  EXPECT_EQ(flat(), "0x0+0x1000 rom@0x0 r\n0x1000+0x2000 flash@0x0\n");
}

TEST_F(FlattenTest, RamIsCutToItsBlock) {
  root_->add(topology_.ram("tail", block_, 0xf000, 0x5000), 0);
  root_->add(topology_.ram("none", block_, 0x20000, 0x1000), 0x10000);
  EXPECT_EQ(flat(), "0x0+0x1000 tail@0x0 rw\n");
}

TEST_F(FlattenTest, ReachesTheTopOfTheAddressSpace) {
  root_->add(io("top", 0x1000), ~std::uint64_t{0} - 0xfff);
  root_->add(io("over", 0x1000), ~std::uint64_t{0} - 0x7ff, 1);
  EXPECT_EQ(flat(), "0xfffffffffffff000+0x800 top@0x0\n0xfffffffffffff800+0x800 over@0x0\n");
}

TEST_F(FlattenTest, AliasLoopsEnd) {
  const auto a = topology_.container("a", 0x1000);
  const auto b = topology_.container("b", 0x1000);
  std::vector<RegionPtr> loops;
  for (const auto& [from, to] : {std::pair(a, a), std::pair(a, b), std::pair(b, a), std::pair(b, b)})
    for (std::uint64_t i = 0; i < 4; ++i) {
      loops.push_back(topology_.alias("loop", to, i, 0x1000));
      from->add(loops.back(), i * 0x100, static_cast<int>(i));
    }
  a->add(io("chip", 0x10), 0x20, 10);
  root_->add(a, 0);
  EXPECT_EQ(flat().find("0x20+0x10 chip@0x0"), 0U);
  for (const auto& loop : loops) {  // or they keep each other for ever
    a->remove(loop);
    b->remove(loop);
  }
}

TEST_F(FlattenTest, EndlesslyNestedAliasesEnd) {
  auto inner = io("chip", 0x10);
  for (int i = 0; i < 1000; ++i) inner = topology_.alias("alias", inner, 0, 0x10);
  root_->add(inner, 0);
  EXPECT_EQ(flat(), "");
}

TEST_F(FlattenTest, ChildHasOneParent) {
  const auto other = topology_.container("other", 0x1000);
  const auto chip = io("chip", 0x10);
  root_->add(other, 0x1000);
  root_->add(chip, 0);
  other->add(chip, 0x20);
  EXPECT_EQ(flat(), "0x1020+0x10 chip@0x0\n");
  root_->remove(chip);  // not its parent
  EXPECT_EQ(flat(), "0x1020+0x10 chip@0x0\n");
}

// --- Random trees ----------------------------------------------------------------------------------------------------

/// What a test remembers of a region, to resolve it again in the most simple-minded way.
struct Node {
  RegionPtr region;
  std::uint64_t size = 0;
  bool enabled = true;
  bool read_only = false;
  struct Child {
    Node* node;
    std::uint64_t offset;
    int priority;
  };
  std::vector<Child> children;  // in order of adding
  Node* target = nullptr;       // of an alias
  std::uint64_t target_offset = 0;
};

struct Answer {
  const Region* region = nullptr;
  std::uint64_t offset = 0;
  bool writable = false;
  bool operator==(const Answer&) const = default;
};

Answer resolve(const Node& node, std::uint64_t offset, bool read_only) {
  if (!node.enabled || offset >= node.size) return {};
  read_only = read_only || node.read_only;
  if (node.target != nullptr) return resolve(*node.target, offset + node.target_offset, read_only);
  if (node.region->kind() != RegionKind::kContainer)
    return {node.region.get(), offset, node.region->kind() == RegionKind::kRam && !read_only};
  std::map<int, Answer, std::greater<>> best;  // by priority; the later of equals replaces the earlier
  for (const auto& child : node.children) {
    if (offset < child.offset) continue;
    const Answer answer = resolve(*child.node, offset - child.offset, read_only);
    if (answer.region != nullptr) best[child.priority] = answer;
  }
  return best.empty() ? Answer{} : best.begin()->second;
}

class RandomTree {
 public:
  RandomTree(unsigned seed, Topology& topology, IoHandler& handler, const std::shared_ptr<RamBlock>& block)
      : random_(seed), topology_(topology), handler_(handler), block_(block) {
    root_ = container(0);
  }
  [[nodiscard]] Node& root() { return *root_; }

 private:
  std::uint64_t upto(std::uint64_t most) { return random_() % (most + 1); }

  Node* add(RegionPtr region) {
    Node& node = *nodes_.emplace_back(std::make_unique<Node>());
    node.size = region->size();
    node.region = std::move(region);
    if (upto(7) == 0) node.region->set_enabled(node.enabled = false);
    if (upto(5) == 0) node.region->set_read_only(node.read_only = true);
    return &node;
  }
  Node* container(unsigned depth) {
    Node* node = add(topology_.container("container", 1 + upto(255)));
    for (std::uint64_t i = upto(5); i > 0; --i) {
      const Node::Child child{.node = make(depth + 1), .offset = upto(200), .priority = static_cast<int>(upto(2)) - 1};
      node->region->add(child.node->region, child.offset, child.priority);
      node->children.push_back(child);
    }
    return node;
  }
  Node* make(unsigned depth) {
    switch (upto(depth < 4 ? 5 : 2)) {
      case 0:
      case 1: return add(topology_.io("io", 1 + upto(100), handler_));
      case 2: return add(topology_.ram("ram", block_, upto(1000), 1 + upto(100)));
      case 3: return container(depth);
      default: {
        Node* target = make(depth + 1);
        const std::uint64_t offset = upto(50);
        Node* node = add(topology_.alias("alias", target->region, offset, 1 + upto(150)));
        node->target = target;
        node->target_offset = offset;
        return node;
      }
    }
  }

  std::mt19937_64 random_;
  Topology& topology_;
  IoHandler& handler_;
  std::shared_ptr<RamBlock> block_;
  std::vector<std::unique_ptr<Node>> nodes_;
  Node* root_ = nullptr;
};

TEST_F(FlattenTest, RandomTreesAgreeWithAskingEachByte) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    RandomTree tree(seed, topology_, handler_, block_);
    const FlatView view(Flattener::flatten(tree.root().region));
    for (std::uint64_t address = 0; address < 600; ++address) {
      const FlatRange* range = view.find({address});
      const Answer shown =
          range == nullptr
              ? Answer{}
              : Answer{range->region.get(), address - range->start.value + range->region_offset, range->writable_ram};
      ASSERT_EQ(shown, resolve(tree.root(), address, false)) << "seed " << seed << " address " << address << "\n"
                                                             << to_text(view.ranges());
    }
    for (std::size_t i = 1; i < view.ranges().size(); ++i)
      ASSERT_LE(view.ranges()[i - 1].end(), view.ranges()[i].start) << "seed " << seed;
  }
}

TEST_F(FlattenTest, FindAndTheDistanceToTheNextRange) {
  root_->add(io("a", 0x10), 0x100);
  root_->add(io("b", 0x10), 0x200);
  const FlatView view(Flattener::flatten(root_));
  EXPECT_EQ(view.find({0xff}), nullptr);
  EXPECT_EQ(view.find({0x100}), &view.ranges()[0]);
  EXPECT_EQ(view.find({0x10f}), &view.ranges()[0]);
  EXPECT_EQ(view.find({0x110}), nullptr);
  EXPECT_EQ(view.find({0x20f}), &view.ranges()[1]);
  EXPECT_EQ(view.find({~std::uint64_t{0}}), nullptr);
  EXPECT_EQ(view.bytes_to_next({0x110}), 0xf0U);
  EXPECT_EQ(view.bytes_to_next({0x210}), ~std::uint64_t{0} - 0x210);
}

}  // namespace
}  // namespace doppel::memory
