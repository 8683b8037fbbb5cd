// What the block layer's tests share: a loop with a context, temporary files, waiting for a Disk.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "block/context.h"
#include "block/disk.h"
#include "block/node.h"

namespace doppel::block {

using Bytes = std::vector<std::byte>;

/// A file that is gone at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::uint64_t size = 0) {
    const int fd = ::mkstemp(path_.data());
    EXPECT_GE(fd, 0);
    EXPECT_EQ(::ftruncate(fd, static_cast<off_t>(size)), 0);
    ::close(fd);
  }
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string contents() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  // Not /tmp: there it may be a memory file system, which has no O_DIRECT.
  std::string path_ = "doppel-block-test-XXXXXX";
};

inline Bytes filled(std::size_t size, int value) {
  return {size, static_cast<std::byte>(value)};
}

/// Runs tasks on a loop of its own.
struct BlockRig {
  explicit BlockRig(EngineChoice choice = EngineChoice::kBest) : context(loop, choice) {}

  template <class T>
  T run(Task<T> task) {
    return run_to_end(loop, std::move(task));
  }
  Bytes read(Node& node, std::uint64_t offset, std::size_t size) {
    Bytes bytes = filled(size, 0xee);
    const auto result = run(node.read(offset, std::span<std::byte>(bytes)));
    EXPECT_TRUE(result) << result.error().describe();
    return bytes;
  }
  /// What comes out of a pipe; empty if the node does not splice that.
  Bytes spliced(Node& node, std::uint64_t offset, std::size_t size) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const UniqueFd out(ends[0]);
    const UniqueFd in(ends[1]);
    EXPECT_GE(::fcntl(in.get(), F_SETPIPE_SZ, 1 << 20), 1 << 20);
    if (!run(node.splice(offset, size, in.get()))) return {};
    Bytes bytes(size + 1);
    std::size_t done = 0;
    while (done < size) {
      const ssize_t got = ::read(out.get(), bytes.data() + done, bytes.size() - done);
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    }
    bytes.resize(done);
    return bytes;
  }
  Result<> write(Node& node, std::uint64_t offset, const Bytes& bytes) {
    return run(node.write(offset, std::span<const std::byte>(bytes)));
  }

  /// Runs COUNT tasks at once, the Ith of which is what MAKE(I) returns.
  template <class Make>
  void run_at_once(std::size_t count, Make make) {
    std::size_t done = 0;
    for (std::size_t i = 0; i < count; ++i)
      spawn(make(i), [&](const Result<>& result) {
        EXPECT_TRUE(result);
        if (++done == count) loop.quit();
      });
    loop.run();
  }

  /// Begins a request by START(done) and runs the loop to its end.
  template <class Start>
  Result<> wait(Start start) {
    std::optional<Result<>> result;
    start([&](Result<> outcome) {
      result = std::move(outcome);
      loop.quit();
    });
    EXPECT_FALSE(result.has_value()) << "completed before the call returned";
    do loop.run();
    while (!result);
    return *result;
  }

  event::Loop loop;
  Context context;
};

}  // namespace doppel::block
