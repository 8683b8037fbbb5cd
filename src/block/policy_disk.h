// A Disk that follows an ErrorPolicy, so that devices need not know of any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "block/disk.h"
#include "block/error_policy.h"

namespace doppel::block {

/// Stands between a device and its disk. Requests that are held wait here, their buffers with them. Beside the
/// requests, every member is for the loop's thread. Destroyed as NodeDisk is.
class PolicyDisk final : public Disk {
 public:
  /// Told on the loop's thread, no lock held, when a request is held: the error, with what was tried in front, and how
  /// many answers (retry() and abandon()) the disk had had by then.
  using Stopped = std::function<void(const Error& error, std::uint64_t answers)>;

  PolicyDisk(std::unique_ptr<Disk> disk, ErrorPolicy policy, Stopped stopped);
  ~PolicyDisk() override;

  /// Under the policy.
  [[nodiscard]] Disk& underlying() { return disk_; }
  [[nodiscard]] bool holds_requests() const { return !held_.empty(); }
  /// The machine goes on: what is held is tried again, in the order of failing, and what is under way once more if it
  /// fails, as it may have begun before the host was mended.
  void retry();
  /// Nobody waits for an answer any more: what is held has failed, and nothing that is under way will be held.
  void abandon();

  [[nodiscard]] std::uint64_t size() const override { return disk_.size(); }
  [[nodiscard]] bool read_only() const override { return disk_.read_only(); }
  [[nodiscard]] bool has_write_cache() const override { return disk_.has_write_cache(); }
  /// What is held is not under way.
  [[nodiscard]] bool busy() const override { return disk_.busy(); }

  void read(std::uint64_t offset, Buffers buffers, Done done) override;
  void write(std::uint64_t offset, Buffers buffers, Done done) override;
  void write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap, Done done) override;
  void discard(std::uint64_t offset, std::uint64_t length, Done done) override;
  void flush(Done done) override;

 private:
  /// Tries a request, again and again if need be: what it needs for that is its own.
  using Begin = std::function<void(Disk& disk, Done done)>;
  struct Request {
    std::string_view verb;  // "reading", for the error
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    ErrorAction action = ErrorAction::kReport;
    Begin begin;
    Done done;
    std::uint64_t begun = 0;  // after so many answers
  };
  struct Held {
    std::shared_ptr<Request> request;
    Error error;
  };

  void attempt(std::string_view verb, ErrorAction action, std::uint64_t offset, std::uint64_t length, Begin begin,
               Done done);
  void begin_request(const std::shared_ptr<Request>& request);
  void finish(const std::shared_ptr<Request>& request, Result<> result);

  std::unique_ptr<Disk> owned_;
  Disk& disk_;
  const ErrorPolicy policy_;
  const Stopped stopped_;
  std::vector<Held> held_;
  std::uint64_t answers_ = 0;
  std::uint64_t abandoned_ = 0;  // answers_ at the last abandon()
  bool ending_ = false;
};

}  // namespace doppel::block
