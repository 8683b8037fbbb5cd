// The protocols `http` and `https`: a file on a web server, to be read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block/context.h"
#include "block/file_node.h"
#include "block/http/transfers.h"
#include "block/node.h"

namespace doppel::block::http {

/// Is PROTOCOL, the part of a file name in front of its first colon, one of these?
bool is_http_protocol(std::string_view protocol);

/// Bytes come by range requests. What is read in small pieces is fetched some way ahead.
class HttpNode final : public Node {
 public:
  /// Asks the server for the size, and whether it sends ranges, on a worker's thread.
  static Task<Result<NodePtr>> open(Context& context, std::string url, FileOptions options);

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return true; }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override { co_return Result<>{}; }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  [[nodiscard]] NodeInfo info() const override;

 private:
  HttpNode(std::shared_ptr<const Libcurl> curl, std::shared_ptr<Transfers> transfers, std::string url,
           std::uint64_t size)
      : curl_(std::move(curl)), transfers_(std::move(transfers)), url_(std::move(url)), size_(size) {}

  Task<Result<>> fetch(std::uint64_t offset, std::span<std::byte> to);
  Task<Result<>> read_ahead(std::uint64_t offset, IoView to);
  [[nodiscard]] std::unexpected<Error> is_read_only() const;

  const std::shared_ptr<const Libcurl> curl_;
  const std::shared_ptr<Transfers> transfers_;
  const std::string url_;
  const std::uint64_t size_;
  Mutex ahead_mutex_;  // for the two below
  std::uint64_t ahead_offset_ = 0;
  std::vector<std::byte> ahead_;
};

}  // namespace doppel::block::http
