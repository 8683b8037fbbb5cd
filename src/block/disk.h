// What a disk device sees of the block layer: bytes that are read and written without waiting.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/error.h"

namespace doppel::block {

/// Host memory of a request. It is the caller's and must stay valid until the request's Done is called.
using Buffers = std::vector<iovec>;

/// Called once, on the disk's loop thread, never before the call that began the request has returned. The error's kind
/// tells the device what to report: kNoSpace, kIo, kPermissionDenied (read-only), kOutOfRange.
using Done = std::function<void(Result<>)>;

/// Any thread may begin requests, with any number of them under way; they may complete in any order. A caller that
/// needs order waits for the first. What has completed is on stable storage only behind a flush begun after that.
class Disk {
 public:
  virtual ~Disk() = default;

  /// In bytes, a multiple of 512.
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  [[nodiscard]] virtual bool read_only() const = 0;
  /// Whether completed writes may be lost in a power cut until a flush (cache=writeback); else each write is durable.
  [[nodiscard]] virtual bool has_write_cache() const = 0;
  /// Are requests under way, whose buffers may still be read or filled? Any thread.
  [[nodiscard]] virtual bool busy() const = 0;

  /// OFFSET in bytes; offset and total length are multiples of 512 and lie within size(), else kOutOfRange.
  virtual void read(std::uint64_t offset, Buffers buffers, Done done) = 0;
  virtual void write(std::uint64_t offset, Buffers buffers, Done done) = 0;
  virtual void write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap, Done done) = 0;
  /// A hint: the bytes' contents no longer matter.
  virtual void discard(std::uint64_t offset, std::uint64_t length, Done done) = 0;
  virtual void flush(Done done) = 0;
};

}  // namespace doppel::block
