// What a power cut leaves: every write and flush of random requests is recorded, and the disk is looked at as it would
// have been after each of them, with what was not flushed there in full, in part, or not at all.
#include <algorithm>
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
  void record() {
    create(GetParam());
    initial_ = file->contents();
    file->record([this](const MemoryNode::Event& event) { recording_.events.push_back(event); });
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
    if (!ask_qemu) return;
    save(contents, "cut.qcow2");
    const int status = qemu_check("cut.qcow2");
    ASSERT_TRUE(status == 0 || status == 3) << "qemu-img check: " << status << ", cut at event " << cut;
  }
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
  return list;
}

INSTANTIATE_TEST_SUITE_P(Layouts, PowerCut, testing::ValuesIn(layouts()), [](const auto& setup) {
  return fmt::format("v{}_{}_{}bits{}", setup.param.version, setup.param.cluster_size, setup.param.refcount_bits,
                     setup.param.extended_l2 ? "_extended" : "");
});

TEST_P(PowerCut, AfterAnyWriteLeavesAWholeImage) {
  record();
  Bytes contents = initial_;
  const std::size_t step = std::max<std::size_t>(1, recording_.events.size() / 400);
  for (std::size_t cut = 0; cut < recording_.events.size() && !HasFatalFailure(); ++cut) {
    replay(contents, recording_.events[cut]);
    if (cut % step == 0) judge(contents, cut + 1, have_qemu_img() && cut % (step * 40) == 0);
  }
  if (!HasFatalFailure()) judge(contents, recording_.events.size(), have_qemu_img());
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
