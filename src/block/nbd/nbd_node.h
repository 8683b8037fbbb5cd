// The protocol `nbd`: a disk that a server has.
#pragma once

#include <memory>
#include <string>

#include "block/context.h"
#include "block/file_node.h"
#include "block/nbd/connection.h"
#include "block/node.h"

namespace doppel::block::nbd {

/// Requests are cut and aligned as the server wants them. When the connection breaks, everything fails from then on.
class NbdNode final : public Node {
 public:
  /// NAME as in location.h. Connecting waits on a worker's thread.
  static Task<Result<NodePtr>> open(Context& context, std::string name, FileOptions options);
  ~NbdNode() override;

  [[nodiscard]] std::uint64_t size() const override { return facts().size; }
  [[nodiscard]] bool read_only() const override { return !options_.writable; }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override;
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override;
  [[nodiscard]] NodeInfo info() const override;

 private:
  NbdNode(std::shared_ptr<Connection> connection, std::string name, FileOptions options)
      : connection_(std::move(connection)), name_(std::move(name)), options_(options) {}

  [[nodiscard]] const ExportFacts& facts() const { return connection_->facts(); }
  [[nodiscard]] bool aligned(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] Result<> check_end(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] Result<> result_of(int error, std::string_view what, std::uint64_t offset) const;
  Task<Result<>> write_blocks(std::uint64_t offset, IoView from);
  Task<Result<>> write_unaligned(std::uint64_t offset, IoView from);
  Task<Result<>> write_zero_bytes(std::uint64_t offset, std::uint64_t length);

  std::shared_ptr<Connection> connection_;
  const std::string name_;
  const FileOptions options_;
  // Who replaces part of a block holds it alone; who writes whole ones shares it.
  Mutex blocks_;
};

}  // namespace doppel::block::nbd
