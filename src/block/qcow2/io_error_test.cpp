// Every single write and flush of a random history fails, one after another: the request that needed it tells so, what
// follows ends, and the image that is left is whole but for leaks.
#include <random>

#include "block/filters/filter_node.h"
#include "block/qcow2/qcow2_rig.h"

namespace doppel::block::qcow2 {
namespace {

constexpr std::uint64_t kDisk = 512 * 1024;
constexpr std::size_t kSectorSize = 512;

/// Counts changes and flushes of the file; number FAILING fails, without having done anything.
class FailingNode final : public FilterNode {
 public:
  using FilterNode::FilterNode;
  Task<Result<>> write(std::uint64_t offset, IoView from) override {
    if (fails()) co_return error();
    co_return co_await child().write(offset, from);
  }
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override {
    if (fails()) co_return error();
    co_return co_await child().write_zeroes(offset, length, unmap);
  }
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override {
    if (fails()) co_return error();
    co_return co_await child().discard(offset, length);
  }
  Task<Result<>> flush() override {
    if (fails()) co_return error();
    co_return co_await child().flush();
  }

  std::size_t count = 0;
  std::size_t failing = 0;  // from 1 on; 0: none
  bool for_good = false;    // and everything behind it

 private:
  bool fails() {
    ++count;
    return failing != 0 && (for_good ? count >= failing : count == failing);
  }
  static std::unexpected<Error> error() { return fail(ErrorKind::kIo, "this write is to fail"); }
};

class IoErrors : public Qcow2Rig, public testing::TestWithParam<CreateOptions> {
 protected:
  /// The same requests each time, to the end, whatever fails. How many changes and flushes the file saw.
  std::size_t history(std::size_t failing, bool for_good) {
    auto memory = std::make_unique<MemoryNode>();
    EXPECT_TRUE(run(qcow2::create(*memory, GetParam())));
    file = memory.get();
    auto filter = std::make_unique<FailingNode>(std::move(memory));
    FailingNode& faults = *filter;
    auto opened = run(Image::open(context, std::move(filter), nullptr));
    EXPECT_TRUE(opened);
    if (!opened) return 0;
    image = std::move(*opened);
    faults.failing = failing;
    faults.for_good = for_good;
    faults.count = 0;
    std::mt19937 random(5);
    failures_ = 0;
    for (int step = 0; step < 40; ++step) one_request(random);
    if (!run(image->close())) ++failures_;
    return faults.count;
  }

  void one_request(std::mt19937& random) {
    const std::uint64_t sectors = kDisk / kSectorSize;
    const std::uint64_t first = random() % sectors;
    const std::uint64_t count = std::min<std::uint64_t>(1 + random() % 100, sectors - first);
    const std::uint64_t kind = random() % 10;
    const Bytes bytes = filled(count * kSectorSize, static_cast<int>(random() % 256));
    Result<> done;
    if (kind < 5)
      done = write(*image, first * kSectorSize, bytes);
    else if (kind < 7)
      done = run(image->write_zeroes(first * kSectorSize, count * kSectorSize, Unmap::kMayUnmap));
    else if (kind < 8)
      done = run(image->discard(first * kSectorSize, count * kSectorSize));
    else
      done = run(image->flush());
    if (!done) ++failures_;
  }

  void judge(std::size_t failing, bool ask_qemu) {
    const Bytes contents = file->contents();
    image.reset();
    Qcow2Rig after;
    after.open(std::make_unique<MemoryNode>(contents));
    ASSERT_NE(after.image, nullptr) << "after failure " << failing;
    const CheckResult result = after.check();
    ASSERT_EQ(result.corruptions, 0U) << result.findings[0] << ", after failure " << failing;
    if (!ask_qemu) return;
    save(contents, "io-error.qcow2");
    const int status = GetParam().lazy_refcounts ? qemu_repair("io-error.qcow2") : qemu_check("io-error.qcow2");
    ASSERT_TRUE(status == 0 || status == 3) << "qemu-img check: " << status << ", after failure " << failing;
  }

  unsigned failures_ = 0;
};

std::vector<CreateOptions> layouts() {
  return {{.size = kDisk, .cluster_size = 512},
          {.size = kDisk, .cluster_size = 512, .refcount_bits = 64},  // the refcount table grows
          {.size = kDisk, .cluster_size = 4096},
          {.size = kDisk, .cluster_size = 4096, .lazy_refcounts = true},
          {.size = kDisk, .version = 2, .cluster_size = 1024},
          {.size = kDisk, .cluster_size = 16384, .extended_l2 = true}};
}

INSTANTIATE_TEST_SUITE_P(Layouts, IoErrors, testing::ValuesIn(layouts()), [](const auto& setup) {
  return fmt::format("v{}_{}_{}bits{}{}", setup.param.version, setup.param.cluster_size, setup.param.refcount_bits,
                     setup.param.extended_l2 ? "_extended" : "", setup.param.lazy_refcounts ? "_lazy" : "");
});

TEST_P(IoErrors, OneFailureLeavesAWholeImage) {
  const std::size_t total = history(0, false);
  ASSERT_EQ(failures_, 0U);
  const std::size_t qemu_step = total / 15 + 1;
  for (std::size_t failing = 1; failing <= total && !HasFatalFailure(); ++failing) {
    history(failing, false);
    EXPECT_GE(failures_, 1U) << "failure " << failing << " was not told of";
    judge(failing, have_qemu_img() && failing % qemu_step == 0);
  }
}

TEST_P(IoErrors, ADiskThatIsGoneForGoodLeavesAWholeImage) {
  const std::size_t total = history(0, false);
  const std::size_t qemu_step = total / 10 + 1;
  for (std::size_t failing = 1; failing <= total && !HasFatalFailure(); ++failing) {
    history(failing, true);
    judge(failing, have_qemu_img() && failing % qemu_step == 0);
  }
}

}  // namespace
}  // namespace doppel::block::qcow2
