// A node of the block graph: something that holds bytes, asynchronously.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "block/io_view.h"
#include "block/task.h"

namespace doppel::block {

class Node;

/// What lies at some offset of a node, and for how many bytes the answer holds.
struct BlockStatus {
  std::uint64_t bytes = 0;  // at least 1, unless none were asked about
  bool allocated = false;   // this node decides the contents; else its backing node does, or they are zeroes
  bool zero = false;        // reads as zeroes
  bool data = false;        // takes up space
  bool compressed = false;
  std::optional<std::uint64_t> offset{};  // where in the file under a format the bytes stand, one to one
  const Node* holder = nullptr;           // which of several files that is: the one of this node's info()
};

enum class Unmap : std::uint8_t { kKeep, kMayUnmap };
enum class Preallocation : std::uint8_t { kOff, kMetadata, kFalloc, kFull };

/// What `doppel-img info` tells of a format, by QEMU's names, in QEMU's order. A value may be such a list,
/// or a list of them, or of texts.
struct FormatDetail;
using FormatDetails = std::vector<FormatDetail>;
struct FormatDetail {
  std::string name;
  std::variant<bool, std::uint64_t, std::string, FormatDetails, std::vector<FormatDetails>, std::vector<std::string>>
      value;
};

struct SnapshotInfo {
  std::string id;
  std::string name;
  std::uint64_t vm_state_size = 0;
  std::uint64_t date_s = 0;  // since 1970
  std::uint32_t date_ns = 0;
  std::uint64_t vm_clock_ns = 0;
  std::uint64_t disk_size = 0;
  std::optional<std::uint64_t> icount{};
};

struct NodeInfo {
  std::string format;      // "qcow2", "raw", "file"
  std::string filename{};  // of the protocol node at the bottom
  std::uint64_t virtual_size = 0;
  std::uint64_t disk_size = 0;     // what it takes up on the host
  bool disk_size_known = true;     // false: a server has it
  std::uint64_t cluster_size = 0;  // 0: the format has none
  bool dirty = false;
  bool encrypted = false;
  std::string backing_file{};    // as the image names it; empty: none
  std::string backing_format{};  // as the image names it; empty: it does not say
  FormatDetails details{};
  std::vector<SnapshotInfo> snapshots{};
};

/// Owns the nodes under it. Everything is called on the loop's thread of the Context it was opened in. Any number of
/// requests may be under way and finish in any order; two that overlap, one of them writing, leave either's bytes.
/// Buffers stay valid until the request's task is done. Offsets and lengths are in bytes, of any alignment.
///
/// close() comes before destruction, with no request under way; without it a format may be left with work for a check.
class Node {
 public:
  Node() = default;
  virtual ~Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  [[nodiscard]] virtual std::uint64_t size() const = 0;
  [[nodiscard]] virtual bool read_only() const = 0;

  /// Behind the end: zeroes.
  virtual Task<Result<>> read(std::uint64_t offset, IoView to) = 0;
  /// For who passes bytes on without looking at them: LENGTH bytes go into PIPE, which has room for them, as the pages
  /// in which the host has them. They change as the file does, so this is for disks that are read_only(). False: that
  /// does not work here; what is in the pipe is worth nothing then, and read() may tell what is wrong.
  virtual Task<bool> splice(std::uint64_t /*offset*/, std::size_t /*length*/, int /*pipe*/) { co_return false; }
  /// Behind the end: a protocol node grows; a format fails with kOutOfRange.
  virtual Task<Result<>> write(std::uint64_t offset, IoView from) = 0;
  /// Afterwards the range reads as zeroes; with kMayUnmap it may give up its space.
  virtual Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) = 0;
  /// A hint: afterwards the range reads as what it was or as zeroes, or, with a backing node, as that.
  virtual Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) = 0;
  /// What completed before this began is on stable storage when this completes.
  virtual Task<Result<>> flush() = 0;
  /// Of the bytes at OFFSET, as far as the answer is the same; LENGTH > 0 at most. Behind the end: zero.
  virtual Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) = 0;
  /// New bytes read as zeroes. With kFalloc all of a file has its space afterwards, with kFull what is new was written.
  virtual Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) = 0;
  virtual Task<Result<>> close() { co_return Result<>{}; }

  /// No request is to be held up on purpose any more: somebody waits for those under way.
  virtual void hurry() {}
  /// For who tests what happens when something fails: the work that begins here, by QEMU's names ("l2_load").
  virtual void debug_event(std::string_view /*event*/) {}

  /// Of a filter: the node whose disk it shows; null: this is none.
  [[nodiscard]] virtual Node* filtered() const { return nullptr; }
  /// What shows through where this node has nothing allocated; null: zeroes do.
  [[nodiscard]] virtual Node* backing() const { return nullptr; }
  [[nodiscard]] virtual NodeInfo info() const = 0;
};

using NodePtr = std::unique_ptr<Node>;

/// NODE without the filters in front of it.
inline Node& without_filters(Node& node) {
  Node* found = &node;
  while (Node* inner = found->filtered()) found = inner;
  return *found;
}

}  // namespace doppel::block
