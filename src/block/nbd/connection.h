// One connection to an NBD server, driven by the event loop.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/context.h"
#include "block/nbd/libnbd.h"
#include "block/nbd/location.h"
#include "block/task.h"

namespace doppel::block::nbd {

/// What the server said of the export.
struct ExportFacts {
  std::uint64_t size = 0;
  std::uint64_t least_block = 1;  // every offset and length is a multiple of it
  std::uint64_t most_payload = 0;
  bool read_only = false;
  bool can_flush = false;
  bool can_trim = false;
  bool can_zero = false;
  bool knows_allocation = false;  // base:allocation
};

/// One piece in base:allocation.
struct Extent {
  std::uint32_t length = 0;
  std::uint32_t flags = 0;  // LIBNBD_STATE_HOLE, LIBNBD_STATE_ZERO
};

/// On the loop's thread, except for connect(). What is under way fails when the connection breaks; it is not made
/// again. Shared, so that it may be let go of while it answers.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// May take long, up to kConnectSeconds; for a worker's thread. The result is used on CONTEXT's loop afterwards.
  static Result<std::shared_ptr<Connection>> connect(Context& context, const Location& location,
                                                     const std::string& name);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Begins to watch the socket.
  void start();
  /// Says goodbye; no request may be under way.
  void stop();

  [[nodiscard]] const ExportFacts& facts() const { return facts_; }

  // Each is one request that the server takes as it is. 0, or an errno.
  Task<int> read(std::uint64_t offset, std::span<std::byte> to);
  Task<int> write(std::uint64_t offset, std::span<const std::byte> from);
  Task<int> flush();
  Task<int> trim(std::uint64_t offset, std::uint64_t length);
  Task<int> zero(std::uint64_t offset, std::uint64_t length, bool may_unmap);
  /// The first piece; one of no length if the server told none.
  Task<int> extent(std::uint64_t offset, std::uint64_t length, Extent& found);

 private:
  static constexpr int kConnectSeconds = 30;

  struct Pending {
    int error = 0;
    Completion<bool> done{};
  };
  struct Answer;

  Connection(event::Loop& loop, std::shared_ptr<const Libnbd> nbd, nbd_handle* handle)
      : loop_(loop), nbd_(std::move(nbd)), handle_(handle) {}

  Result<> open(const Location& location, const std::string& name);
  Result<> wait_until_ready(const std::string& name);
  Result<> learn(const std::string& name);
  [[nodiscard]] std::unexpected<Error> failure(const std::string& name) const;
  template <class Begin>
  Task<int> request(Begin begin);
  void turn(bool readable);
  void finish_all();
  void update_watches();

  event::Loop& loop_;
  const std::shared_ptr<const Libnbd> nbd_;
  nbd_handle* handle_;
  ExportFacts facts_;
  std::unique_ptr<event::FdWatch> readable_;
  std::unique_ptr<event::FdWatch> writable_;
  // What libnbd has called back about. It holds a lock meanwhile, so that nobody may be resumed there.
  std::deque<Pending*> finished_;
  bool started_ = false;
};

}  // namespace doppel::block::nbd
