// What a power cut leaves: every write and flush of random requests is recorded, and the disk is looked at as it would
// have been after each of them, with what was not flushed there in full, in part, or not at all.
#include <algorithm>
#include <map>
#include <random>

#include "block/qcow2/qcow2_rig.h"

namespace doppel::block::qcow2 {
namespace {

constexpr std::size_t kDisk = 512 * 1024;
constexpr std::size_t kSectorSize = 512;

/// The history of a file, and of the disk inside it.
struct Recording {
  /// What one sector was given in one step of the guest.
  struct Write {
    std::uint32_t step;
    std::uint32_t value;
  };
  /// From EVENT on: the step whose value each sector has at least.
  struct Promise {
    std::size_t event;
    std::vector<std::uint32_t> steps;
  };

  /// May SECTOR have VALUE, if what STEP wrote had been flushed?
  [[nodiscard]] bool allows(std::size_t sector, std::uint32_t value, std::uint32_t step) const {
    return std::ranges::any_of(writes[sector],
                               [&](const Write& write) { return write.step >= step && write.value == value; });
  }

  std::vector<MemoryNode::Event> events;
  std::vector<Promise> promises;
  std::vector<std::vector<Write>> writes;  // by sector
};

bool is_flush(const MemoryNode::Event& event) {
  return event.bytes.empty() && !event.size;
}

void replay(Bytes& file, const MemoryNode::Event& event) {
  if (event.size) file.resize(*event.size);
  if (event.bytes.empty()) return;
  if (file.size() < event.offset + event.bytes.size()) file.resize(event.offset + event.bytes.size());
  std::ranges::copy(event.bytes, file.begin() + static_cast<std::ptrdiff_t>(event.offset));
}

class PowerCut : public Qcow2Rig, public testing::TestWithParam<CreateOptions> {
 protected:
  /// From the image's opening on.
  void reopen_recorded() {
    close();
    auto memory = std::make_unique<MemoryNode>(file->contents());
    if (recording_.events.empty()) initial_ = file->contents();
    image.reset();
    memory->record([this](const MemoryNode::Event& event) { recording_.events.push_back(event); });
    open(std::move(memory));
  }
  /// A bitmap that records all of the history, and one that is there and records nothing.
  void add_bitmaps() {
    if (GetParam().version < 3) return;
    ASSERT_TRUE(run(image->add_bitmap("kept", 512, true)));
    ASSERT_TRUE(run(image->write_zeroes(5 * kSectorSize, 3 * kSectorSize, Unmap::kMayUnmap)));
    ASSERT_TRUE(run(image->enable_bitmap("kept", false)));
    ASSERT_TRUE(run(image->add_bitmap("live", 1024, true)));
  }
  void record() {
    create(GetParam());
    add_bitmaps();
    reopen_recorded();
    std::vector<std::uint32_t> sectors(kDisk / kSectorSize, 0);
    recording_.writes.resize(sectors.size(), {{0, 0}});
    for (std::uint32_t step = 1; step <= 120; ++step) {
      const std::size_t first = random_() % sectors.size();
      const std::size_t count =
          std::min<std::size_t>(1 + random_() % (random_() % 4 == 0 ? 200 : 12), sectors.size() - first);
      const unsigned kind = random_() % 8;
      if (kind < 5) {
        Bytes bytes(count * kSectorSize);
        for (std::size_t i = 0; i < count; ++i)
          for (std::size_t at = 0; at < kSectorSize; at += 4) store_le(bytes.data() + i * kSectorSize + at, step);
        ASSERT_TRUE(write(*image, first * kSectorSize, bytes));
        set(sectors, first, count, {step, step});
      } else if (kind < 7) {
        const Unmap unmap = kind == 5 ? Unmap::kMayUnmap : Unmap::kKeep;
        ASSERT_TRUE(run(image->write_zeroes(first * kSectorSize, count * kSectorSize, unmap)));
        set(sectors, first, count, {step, 0});
      } else {
        ASSERT_TRUE(run(image->flush()));
        recording_.promises.push_back({recording_.events.size(), sectors});
      }
      if (step == 60) reopen_recorded();
    }
    close();
    recording_.promises.push_back({recording_.events.size(), sectors});
  }
  void set(std::vector<std::uint32_t>& sectors, std::size_t first, std::size_t count, Recording::Write write) {
    for (std::size_t i = first; i < first + count; ++i) {
      sectors[i] = write.step;
      recording_.writes[i].push_back(write);
    }
  }

  /// Must be readable, whole but for leaks, with all that was flushed before event CUT, or something written later.
  void judge(const Bytes& contents, std::size_t cut, bool ask_qemu) {
    Qcow2Rig after;
    after.open(std::make_unique<MemoryNode>(contents));
    ASSERT_NE(after.image, nullptr);
    const CheckResult result = after.check();
    ASSERT_EQ(result.corruptions, 0U) << result.findings[0] << ", cut at event " << cut;
    const std::vector<std::uint32_t>* promised = nullptr;
    for (const auto& promise : recording_.promises)
      if (promise.event <= cut) promised = &promise.steps;
    const Bytes disk = after.read(*after.image, 0, kDisk);
    for (std::size_t i = 0; i < kDisk / kSectorSize; ++i) {
      const auto value = load_le<std::uint32_t>(disk.data() + i * kSectorSize);
      const std::uint32_t least = promised != nullptr ? (*promised)[i] : 0;
      const bool allowed = recording_.allows(i, value, least);
      ASSERT_TRUE(allowed) << "sector " << i << " has " << value << ", flushed was step " << least << ", cut at event "
                           << cut;
    }
    judge_bitmaps(after, disk, cut);
    if (!ask_qemu) return;
    save(contents, "cut.qcow2");
    const int status = GetParam().lazy_refcounts ? qemu_repair("cut.qcow2") : qemu_check("cut.qcow2");
    ASSERT_TRUE(status == 0 || status == 3) << "qemu-img check: " << status << ", cut at event " << cut;
  }
  /// One that records nothing has lost nothing; the other one says that it is behind, or knows all that was written.
  void judge_bitmaps(Qcow2Rig& after, const Bytes& disk, std::size_t cut) {
    const std::vector<BitmapInfo> bitmaps = after.image->bitmaps();
    ASSERT_EQ(bitmaps.size(), GetParam().version < 3 ? 0U : 2U) << "cut at event " << cut;
    for (const BitmapInfo& bitmap : bitmaps) {
      if (bitmap.inconsistent && bitmap.enabled) continue;
      ASSERT_FALSE(bitmap.inconsistent) << bitmap.name << ", cut at event " << cut;
      ++consistent_[bitmap.name];
      std::vector<bool> dirty(kDisk / kSectorSize);
      const Bitmaps::VisitRange visit = [&](std::uint64_t offset, std::uint64_t length) {
        for (std::uint64_t i = offset / kSectorSize; i < (offset + length) / kSectorSize; ++i) dirty[i] = true;
      };
      const auto visited = after.run(after.image->visit_bitmap(bitmap.name, visit));
      ASSERT_TRUE(visited) << visited.error().describe() << ", cut at event " << cut;
      for (std::size_t i = 0; i < dirty.size(); ++i) {
        const bool written = load_le<std::uint32_t>(disk.data() + i * kSectorSize) != 0;
        const bool known = bitmap.enabled ? !written || dirty[i] : dirty[i] == (i >= 5 && i < 8);
        ASSERT_TRUE(known) << bitmap.name << " is wrong for sector " << i << ", cut at event " << cut;
      }
    }
  }
  std::map<std::string, int> consistent_;
  std::mt19937 random_{11};
  Bytes initial_;
  Recording recording_;
};

std::vector<CreateOptions> layouts() {
  std::vector<CreateOptions> list;
  for (const std::uint64_t cluster : {512U, 4096U, 65536U}) list.push_back({.size = kDisk, .cluster_size = cluster});
  list.push_back({.size = kDisk, .cluster_size = 512, .refcount_bits = 64});  // the refcount table grows
  list.push_back({.size = kDisk, .version = 2, .cluster_size = 1024});
  list.push_back({.size = kDisk, .cluster_size = 16384, .extended_l2 = true});
  list.push_back({.size = kDisk, .cluster_size = 512, .lazy_refcounts = true});
  list.push_back({.size = kDisk, .cluster_size = 4096, .refcount_bits = 64, .lazy_refcounts = true});
  return list;
}

INSTANTIATE_TEST_SUITE_P(Layouts, PowerCut, testing::ValuesIn(layouts()), [](const auto& setup) {
  return fmt::format("v{}_{}_{}bits{}{}", setup.param.version, setup.param.cluster_size, setup.param.refcount_bits,
                     setup.param.extended_l2 ? "_extended" : "", setup.param.lazy_refcounts ? "_lazy" : "");
});

TEST_P(PowerCut, AfterAnyWriteLeavesAWholeImage) {
  record();
  Bytes contents = initial_;
  const std::size_t step = std::max<std::size_t>(1, recording_.events.size() / 400);
  for (std::size_t cut = 0; cut < recording_.events.size() && !HasFatalFailure(); ++cut) {
    replay(contents, recording_.events[cut]);
    if (cut % step == 0) judge(contents, cut + 1, have_qemu_img() && cut % (step * 40) == 0);
  }
  if (HasFatalFailure()) return;
  judge(contents, recording_.events.size(), have_qemu_img());
  EXPECT_EQ(consistent_["live"] > 0, GetParam().version >= 3);
}

TEST_P(PowerCut, WithUnflushedWritesPartlyThereLeavesAWholeImage) {
  record();
  const auto& events = recording_.events;
  for (int round = 0; round < 150 && !HasFatalFailure(); ++round) {
    const std::size_t cut = random_() % events.size();
    std::size_t durable = cut;  // behind the last flush before the cut
    while (durable > 0 && !is_flush(events[durable - 1])) --durable;
    Bytes contents = initial_;
    for (std::size_t i = 0; i < durable; ++i) replay(contents, events[i]);
    for (std::size_t i = durable; i < cut; ++i)
      if (random_() % 2 == 0) replay(contents, events[i]);
    judge(contents, durable, have_qemu_img() && round % 30 == 0);
  }
}

}  // namespace
}  // namespace doppel::block::qcow2
