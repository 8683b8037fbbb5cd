// What the tests of qcow2 share: images in memory, and QEMU's judgement of them.
#pragma once

#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "block/memory_node.h"
#include "block/qcow2/check.h"
#include "block/qcow2/create.h"
#include "block/qcow2/image.h"
#include "block/test_support.h"

namespace doppel::block::qcow2 {

inline bool have_qemu_img() {
  static const bool have = std::system("command -v qemu-img >/dev/null") == 0;
  return have;
}

inline void save(const Bytes& contents, const std::string& path) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(contents.data()), static_cast<std::streamsize>(contents.size()));
}

/// The exit status of `qemu-img check`: 0 clean, 2 corrupt, 3 leaks alone.
inline int qemu_check(const std::string& path) {
  const int status = std::system(("qemu-img check -q -f qcow2 " + path + " >/dev/null 2>&1").c_str());
  return WEXITSTATUS(status);
}

/// Likewise of what is left when everything has been repaired.
inline int qemu_repair(const std::string& path) {
  const int status = std::system(("qemu-img check -q -r all -f qcow2 " + path + " >/dev/null 2>&1").c_str());
  return WEXITSTATUS(status);
}

struct Qcow2Rig : BlockRig {
  /// A new image in memory, open.
  void create(const CreateOptions& options) {
    auto memory = std::make_unique<MemoryNode>();
    const auto created = run(qcow2::create(*memory, options));
    ASSERT_TRUE(created) << created.error().describe();
    open(std::move(memory));
  }
  void open(std::unique_ptr<MemoryNode> memory, NodePtr backing = nullptr) {
    file = memory.get();
    auto opened = run(Image::open(context, std::move(memory), nullptr));
    ASSERT_TRUE(opened) << opened.error().describe();
    image = std::move(*opened);
    image->set_backing(std::move(backing));
  }
  void close() {
    const auto closed = run(image->close());
    ASSERT_TRUE(closed) << closed.error().describe();
  }
  /// Closes, and opens the same bytes again.
  void reopen(NodePtr backing = nullptr) {
    close();
    auto copy = std::make_unique<MemoryNode>(file->contents());
    image.reset();
    open(std::move(copy), std::move(backing));
  }
  CheckResult check(Repair repair = Repair::kNone) {
    auto result = run(image->check(repair));
    EXPECT_TRUE(result) << result.error().describe();
    return result ? *result : CheckResult{};
  }
  void expect_clean() {
    const CheckResult result = check();
    EXPECT_EQ(result.corruptions, 0U) << (result.findings.empty() ? "" : result.findings[0]);
    EXPECT_EQ(result.leaks, 0U) << (result.findings.empty() ? "" : result.findings[0]);
  }

  MemoryNode* file = nullptr;
  std::unique_ptr<Image> image;
};

}  // namespace doppel::block::qcow2
